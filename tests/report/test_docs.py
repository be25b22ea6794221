"""Commands and files that the pages for workshops name exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import tasks
from hardwatt.cli import console

ROOT = Path(__file__).parents[2]
PAGES = (
    "docs/workshop.md",
    "docs/energy.md",
    "docs/environments.md",
    "docs/talk.md",
    "docs/coverage.md",
    "docs/api.md",
    "docs/bundle.md",
    "docs/table.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_every_invoke_command_is_a_task(page: str) -> None:
    named = set(re.findall(r"\binvoke ([a-z]+(?:[.-][a-z]+)*)", (ROOT / page).read_text()))
    assert named or page != "docs/workshop.md"
    assert named <= set(tasks.ns.task_names)


def test_every_hardwatt_command_is_one() -> None:
    texts = [(ROOT / page).read_text() for page in (*PAGES, "README.md")]
    named = {name for text in texts for name in re.findall(r"`(?:venv/bin/)?hardwatt ([a-z]+)", text)}
    assert named == {"report", "verify", "compare", "pool", "table"}
    needs = {"compare": ["a", "b"], "pool": ["a", "b"], "table": ["t.csv"]}
    for name in named:
        assert console.read([name, *needs.get(name, [])])[0].alias == name


@pytest.mark.parametrize("page", PAGES)
def test_every_link_and_file_is_there(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
    for name in re.findall(r"`((?:experiments|bootstrap|hardwatt)/[\w/.-]+\.\w+)`", text):
        assert (ROOT / name).exists(), name


def test_the_settings_that_the_energy_page_names_are_settings() -> None:
    example = tomllib.loads((ROOT / "lab.example.toml").read_text())
    assert "meter.source" in (ROOT / "docs/energy.md").read_text()
    assert "source" in example["meter"]
