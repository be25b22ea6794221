"""Bundles whose maker means harm: links, unlisted files, damaged shapes with right sums, and text for a terminal."""

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.cli.commands import COMMANDS
from hardwatt.cli.execution import execute
from hardwatt.core.errors import LabError, RefusedError, VerifyError
from hardwatt.core.progress import cells, console, say, table
from hardwatt.core.terminal import printable
from hardwatt.dump.client import Client
from hardwatt.report.render import report
from hardwatt.testing.synthetic_bundle import Spec, make_bundle

HARM = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj\r<img src=x onerror=alert(1)>|[a](javascript:x)"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("made") / "b", Spec(pairs=2, window_seconds=20)).path


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "b"))


def summed(bundle: Path) -> None:
    """Write the right sums of all listed files into the manifest, as a stranger can."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in manifest["files"]:
        data = (bundle / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    manifest["plan_sha256"] = manifest["files"]["plan.json"]["sha256"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("place", ["results", "results/report.html", ".hidden", "log/extra", "edges", "samples"])
@pytest.mark.parametrize("to_folder", [True, False])
def test_a_link_is_refused_and_nothing_is_written_through_it(
    bundle: Path, tmp_path: Path, place: str, to_folder: bool
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "report.html").write_text("mine")
    link = bundle / place
    if link.exists():
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside if to_folder else outside / "report.html")
    for use in (lambda: Bundle.open(bundle).verify(), lambda: report(bundle)):
        with pytest.raises(VerifyError, match="a link or not a regular file") as caught:
            use()
        assert caught.value.hint
    assert [path.name for path in outside.iterdir()] == ["report.html"]
    assert (outside / "report.html").read_text() == "mine"


def test_a_listed_file_that_is_a_link_is_not_read(bundle: Path, tmp_path: Path) -> None:
    shutil.copy(bundle / "runs.parquet", tmp_path / "runs.parquet")
    (bundle / "runs.parquet").unlink()
    (bundle / "runs.parquet").symlink_to(tmp_path / "runs.parquet")
    with pytest.raises(VerifyError, match="a link"):
        _ = Bundle.open(bundle).runs


def test_files_without_a_sum_are_named(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "results").mkdir(exist_ok=True)
    (bundle / "results/report.html").write_text("forged")
    (bundle / ".DS_Store").write_text("")
    (bundle / "log/.x").parent.mkdir(exist_ok=True)
    (bundle / "log/.x").write_text("")
    assert Bundle.open(bundle).verify() == (".DS_Store", "log/.x", "results/report.html")
    assert execute(COMMANDS["experiment.verify"], {"bundle": str(bundle)}) == 0
    shown = capsys.readouterr().out
    for name in (".DS_Store", "log/.x", "results/report.html"):
        assert f"no checksum covers {bundle / name}\n" in shown


def replaced(bundle: Path, make: Callable[[Path], object]) -> None:
    (bundle / "manifest.json").unlink()
    make(bundle / "manifest.json")


MANIFESTS: dict[str, Callable[[Path], object]] = {
    "nested": lambda path: path.write_text("[" * 200_000),
    "nested in an object": lambda path: path.write_text('{"a":' * 200_000),
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("/etc/hostname"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a pipe": lambda path: os.mkfifo(path),
    "empty": lambda path: path.write_text(""),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "a list": lambda path: path.write_text("[]"),
    "a key twice": lambda path: path.write_text('{"schema_version": 2, "schema_version": 2}'),
    "a version with escapes": lambda path: path.write_text(json.dumps({"schema_version": HARM})),
    "a large version": lambda path: path.write_text(json.dumps({"schema_version": [1] * 100_000})),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_hostile_manifest_gives_one_error(bundle: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    replaced(bundle, MANIFESTS[case])
    for name in ("experiment.verify", "experiment.report"):
        assert execute(COMMANDS[name], {"bundle": str(bundle)}) == 1
        shown = capsys.readouterr().err
        assert "error: " in shown and "next: " in shown and len(shown) < 3000
        assert shown.replace("\n", "").isprintable()


def parquet(frame: pl.DataFrame) -> Callable[[Path], object]:
    return frame.write_parquet


MANY = pl.DataFrame({"run_id": pl.repeat("x", 2_000_000, eager=True)})
SHAPES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a table that is none": ("runs.parquet", lambda path: path.write_bytes(b"PAR1nothingPAR1")),
    "an empty table": ("runs.parquet", lambda path: path.write_bytes(b"")),
    "other columns": ("runs.parquet", parquet(pl.DataFrame({"a": [1]}))),
    "other columns of commits": ("deliveries.parquet", parquet(pl.DataFrame({"a": [1]}))),
    "labels that are no JSON": ("series.parquet", parquet(pl.DataFrame({"series_id": [1], "labels": ["{"]}))),
    "labels that are nested": ("series.parquet", parquet(pl.DataFrame({"series_id": [1], "labels": ["[" * 99999]}))),
    "labels that are a number": ("series.parquet", parquet(pl.DataFrame({"series_id": [1], "labels": ["1"]}))),
    "far more rows than bytes": ("runs.parquet", parquet(MANY)),
    "a reading with other keys": ("edges/r001.start.json", lambda path: path.write_text('{"a": 1}')),
    "a reading that is a list": ("edges/r001.start.json", lambda path: path.write_text("[]")),
    "a plan that is nested": ("plan.json", lambda path: path.write_text("[" * 99999)),
}  # fmt: skip


@pytest.mark.parametrize("case", SHAPES)
def test_a_file_of_another_shape_with_the_right_sum(
    bundle: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, make = SHAPES[case]
    file = bundle / name if (bundle / name).exists() else sorted((bundle / "edges").iterdir())[0]
    make(file)
    summed(bundle)
    assert Bundle.open(bundle).verify() == ()
    opened = Bundle.open(bundle)
    with pytest.raises(LabError):
        _ = opened.runs, opened.deliveries, opened.series, opened.edges, opened.plan
    assert execute(COMMANDS["experiment.report"], {"bundle": str(bundle)}) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert not (bundle / "results").exists()


def test_samples_with_other_columns_are_refused(bundle: Path) -> None:
    part = next(bundle.glob("samples/*/*/*.parquet"))
    pl.DataFrame({"a": [1]}).write_parquet(part)
    opened = Bundle.open(bundle)
    with pytest.raises(VerifyError, match="does not have the columns series_id, ts, value"):
        opened.samples(part.parent.parent.name.removeprefix("metric="))


def test_foreign_text_is_escaped_in_markdown_and_html(bundle: Path, tmp_path: Path) -> None:
    plan = json.loads((bundle / "plan.json").read_text())
    plan["title"] = plan["question"] = plan["study"] = f"# {HARM}\n\n# second `x` <script>alert(1)</script>"
    (bundle / "plan.json").write_text(json.dumps(plan))
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["versions"] = {HARM: HARM}
    manifest["checks"] = [{"name": HARM, "status": "warning", "detail": HARM}]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    summed(bundle)
    page = report(bundle, output=tmp_path / "out")
    text, html = (tmp_path / "out/report.md").read_text(), page.read_text()
    for raw in ("<img", "<script", "[a](javascript"):
        assert raw not in text.partition("```")[0] and (raw.startswith("[") or raw not in html)
    assert "<" not in text.partition("```")[2]
    assert text.count("```") == 2
    assert not [c for c in text if not c.isprintable() and c != "\n"]
    assert '<meta http-equiv="Content-Security-Policy" content="default-src \'none\';' in html


@pytest.mark.parametrize(
    "url",
    [
        "http://me:secret@prometheus:9090",
        "https://secret@prometheus/",
        "https://prometheus/?token=secret",
        "https://prometheus/#secret",
        "ftp://prometheus",
        "prometheus:9090",
        "http://",
        "http://[::1",
        "http://a:port",
        "http://a\x1b[2J/",
        "-http://a",
    ],
)
def test_an_address_with_a_secret_or_none_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(RefusedError) as caught:
        Client(url)
    assert "secret" not in str(caught.value) and str(caught.value).replace("\n", "").isprintable()


@pytest.mark.parametrize("url", ["http://localhost:9090", "https://prometheus.example/path/", "http://[::1]:9090"])
def test_an_address_is_accepted(url: str) -> None:
    with Client(url) as client:
        assert client.url == url.rstrip("/")


class SaidError(LabError):
    """An error that quotes what a stranger's program printed."""


@pytest.mark.parametrize("where", ["stdout", "error", "step", "hint"])
def test_no_control_character_reaches_the_terminal(
    where: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        if where == "stdout":
            print(f"line one\n\tline two {HARM}")
        elif where == "error":
            raise SaidError(f"ssh: {HARM}")
        elif where == "hint":
            raise SaidError("x", hint=HARM)
        else:
            say(HARM)
            shown = table("a")
            shown.add_row(*cells(HARM))
            console.print(shown)

    assert execute(dataclasses.replace(COMMANDS["experiment.verify"], function=command), {}) in (0, 1)
    shown = "".join(capsys.readouterr())
    assert not [c for c in shown if not c.isprintable() and c not in "\n\t"]
    assert "\\x1b" in shown


def test_an_output_that_knows_ascii_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def command() -> None:
        print("Größe µJ 🙂")

    with (tmp_path / "out").open("w", encoding="ascii") as file:
        monkeypatch.setattr("sys.stdout", file)
        assert execute(dataclasses.replace(COMMANDS["experiment.verify"], function=command), {}) == 0
    assert (tmp_path / "out").read_text() == "Gr\\xf6\\xdfe \\xb5J \\U0001f642\n"


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied", "/x/y"),
        OSError(28, "No space left on device"),
        OSError(27, "File too large", b"/x/y"),
        UnicodeEncodeError("ascii", "\x1b", 0, 1, "ordinal"),
        OSError(),
    ],
)
def test_an_error_of_the_system_is_an_error_with_a_next_step(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    assert execute(dataclasses.replace(COMMANDS["experiment.verify"], function=command), {}) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: ") and "next: " in shown
    assert ("/x/y" in shown) == bool(getattr(error, "filename", None))


def test_printable_text_is_left_as_it_is() -> None:
    assert printable("Größe µJ\tx\r\n🙂\n") == "Größe µJ\tx\n🙂\n"
    assert printable("a\rb\x00\ufeff\u2028\udcff") == "a\\rb\\x00\\ufeff\\u2028\\udcff"
