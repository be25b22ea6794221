"""The bundle that comes with the package: small, whole, real, and analysed the same everywhere."""

from pathlib import Path

import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.cli.console import SHIPPED, main
from tests.report.test_render import bare_numbers

ROOT = Path(__file__).parents[2]


def test_it_is_whole_and_small() -> None:
    bundle = Bundle.open(SHIPPED)
    bundle.verify()
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 2 * 1024**2
    assert not (SHIPPED / "results").exists()


def test_it_says_what_it_is_and_under_which_licence() -> None:
    assert (SHIPPED / "LICENSE").read_bytes() == (ROOT / "DATA-LICENSE").read_bytes()
    assert (SHIPPED / "README.md").read_text() == (ROOT / "hardwatt/bundle/inside.md").read_text()


def test_it_was_measured_on_an_embedded_node_with_three_pairs_or_more() -> None:
    bundle = Bundle.open(SHIPPED)
    assert "synthetic" not in bundle.manifest.host
    assert bundle.manifest.host["kind"] == "embedded"
    assert bundle.manifest.source == "modelled"
    done = [run for run in bundle.runs if run.status == "done"]
    assert len({run.block for run in done}) >= 3
    assert all(run.commits >= 3 and run.ready == run.commits for run in done)


def test_it_is_reported_without_an_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report"]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page == tmp_path / "results" / "shipped-bundle" / "report.html"
    text = page.read_text(encoding="utf-8")
    assert bare_numbers(text)[0] == []
    assert "Source of energy: modelled" in text
    assert main(["verify"]) == 0
    assert not (SHIPPED / "results").exists()
