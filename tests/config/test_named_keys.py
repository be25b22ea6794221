"""Hints and pages name settings by keys that lab.toml accepts."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from hardwatt.config.settings import ROOT, Settings
from hardwatt.core import former_names

SECTIONS = {name: set(type(value).model_fields) for name, value in Settings() if isinstance(value, BaseModel)}
PLAIN = {"Choose", "Key", "others"}
"""Words before ``in [SECTION]`` that are no keys."""
_NAMED = re.compile(r"(?<![\w}-])(\w+)(?: = (?:\"[^\"]*\"|\w+))?`? in `?\[(\w+)\]")
_FORMER = re.compile(
    "|".join(
        rf"\[{section}\] {key}\b|(?<![\w.]){key} = (?:\"|true|false|\d)"
        for section, key in (name.split(".") for name in former_names.SETTINGS)
    )
)


def texts() -> Iterator[tuple[Path, str]]:
    """Yield every page, and every text in a program that a person may read."""
    for folder in ("docs", "templates", "benchmarks", "experiments"):
        yield from ((file, file.read_text()) for file in sorted((ROOT / folder).rglob("*.md")))
    yield ROOT / "README.md", (ROOT / "README.md").read_text()
    for folder in ("hardwatt", "deploys"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield from ((file, text) for text in strings(file.read_text()))


def strings(code: str) -> Iterator[str]:
    """Yield the texts of a program; ``{}`` stands for what is put into one."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def wrong(text: str) -> list[str]:
    """Return what in a text names a key that is refused."""
    named = [
        found[0]
        for found in _NAMED.finditer(text)
        if found[2] in SECTIONS and found[1] not in PLAIN and found[1] not in SECTIONS[found[2]]
    ]
    return named + [found[0] for found in _FORMER.finditer(text)]


def test_every_named_key_exists() -> None:
    assert [f"{file.relative_to(ROOT)}: {found}" for file, text in texts() for found in wrong(text)] == []


def test_keys_are_found_at_all() -> None:
    found = {match[1] for _, text in texts() for match in _NAMED.finditer(text) if match[2] in SECTIONS}
    assert {"timeout_factor", "key", "source", "kernel_headers"} <= found


@pytest.mark.parametrize(
    "text",
    [
        "for a slow host, patience in [host] of lab.toml",
        "`[host] patience` multiplies them",
        'set headers = "matching" in [host]',
        'Choose in [host] of lab.toml: headers = "update"',
        "set nokmem = true in [host]",
        'set scrape_interval = "5s" in [meter]',
    ],
)
def test_a_wrong_key_is_found(text: str) -> None:
    assert wrong(text)


@pytest.mark.parametrize("text", ["{} in [meter]", 'set scrape_interval = "5s" in [prometheus]'])
def test_what_is_right_is_left_alone(text: str) -> None:
    assert wrong(text) == []
