"""The how-to runs as it stands: its file, its commands and its numbers."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from hardwatt.cli.console import main

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


def test_every_option_of_the_page_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    known = set(re.findall(r"--[a-z]+", capsys.readouterr().out))
    others = {"--export-json", "--benchmark-json", "--benchmark-save-data"}
    named = set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", PAGE))
    assert len(named & known) > 15 and named <= known | others
