"""The how-to runs as it stands: its file, its commands and its numbers."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from hardwatt.cli.console import main
from tests.tables.helpers import write
from tests.tables.test_formats import energibridge, energibridge_power

PAGE = (Path(__file__).parents[2] / "docs" / "table.md").read_text()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (text,) = re.findall(r"```csv\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "run_table.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> list[str]:
    return re.findall(r"^    hardwatt (table .*)$", PAGE, re.MULTILINE)


def test_the_commands_of_the_page_do_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, third = commands()
    assert main(shlex.split(first)) == 2
    whole = capsys.readouterr().err.rpartition("next: hardwatt ")[2]
    assert main(shlex.split(whole)) == 0
    assert main(shlex.split(second)) == 0
    results = json.loads((folder / "results" / "run_table" / "results.json").read_text())
    estimate = results["primary"]["estimate"]
    said = f"{estimate['value']:.2f} J more than flask"
    assert said in PAGE.replace("\n", " ")
    assert f"{estimate['low']:.1f} to {estimate['high']:.1f}" in PAGE
    assert main(shlex.split(third)) == 0
    named = set(re.findall(r"`((?:contrasts|methods|references)\.\w+)`", PAGE))
    assert {"contrasts.csv", "contrasts.tex", "methods.tex", "references.bib"} == named
    assert named < {path.name for path in (folder / "figures").iterdir()}


def test_the_script_of_the_page_makes_a_table_of_many_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folders of https://github.com/tdurieux/EnergiBridge-experiments: an arm each, with a file for each run."""
    monkeypatch.chdir(tmp_path)
    for arm, more in (("chrome", 20.0), ("idle", 0.0)):
        (tmp_path / arm).mkdir()
        for run in range(1, 7):
            watts = [10.0 + more + run / 10] * 11
            lines = energibridge_power(watts) if run % 2 else energibridge([500 + k * watts[0] / 10 for k in range(11)])
            write(tmp_path / arm / f"{run}.csv", lines)
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(script, "docs/table.md", "exec"), {})
    (line,) = re.findall(r"`hardwatt (table runs\.csv [^`]*)`", PAGE)
    assert main(shlex.split(line)) == 0
    results = json.loads((tmp_path / "results" / "runs" / "results.json").read_text())
    estimate = results["primary"]["estimate"]
    assert (estimate["value"], estimate["unit"]) == (pytest.approx(-20, abs=0.01), "J")
    write(tmp_path / "idle" / "7.csv", energibridge([65_530.5, 2.25, 61.0]))
    with pytest.raises(AssertionError, match="the counter wrapped"):
        exec(compile(script, "docs/table.md", "exec"), {})


def test_every_option_of_the_page_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    known = set(re.findall(r"--[a-z]+", capsys.readouterr().out))
    others = {"--export-json", "--benchmark-json", "--benchmark-save-data"}
    named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", PAGE))
    assert len(named & known) > 15 and named <= known | others
