"""The pages that lead a newcomer through the tree name packages, files and functions that exist."""

import ast
import re
from pathlib import Path

import pytest

from tests.pages.commands import ROOT
from tests.structure.modules import ORDER

README = (ROOT / "README.md").read_text()
DECISIONS = ROOT / "docs/decisions"
PAGES = ("README.md", "docs/contributing.md", *sorted(f"docs/decisions/{path.name}" for path in DECISIONS.glob("*.md")))
FOLDERS = ("benchmarks", "clusters", "deploys", "docs", "experiments", "inventory", "templates", "tests")


def test_the_table_of_the_readme_has_every_package_in_the_order_of_imports() -> None:
    rows = re.findall(r"^\| `hardwatt/([a-z]+)/` \| (.+) \| .+ \|$", README, re.MULTILINE)
    folders = {path.parent.name for path in (ROOT / "hardwatt").glob("*/__init__.py")}
    assert [name for name, _ in rows] == [name for name in ORDER if "." not in name]
    assert {name for name, _ in rows} == folders


def test_the_table_of_the_readme_has_every_folder() -> None:
    assert set(FOLDERS) <= set(re.findall(r"^\| `([a-z]+)/` \|", README, re.MULTILINE))


def test_every_decision_record_is_listed_and_has_its_parts() -> None:
    index = (DECISIONS / "README.md").read_text()
    listed = {name: title for title, name in re.findall(r"^- \[(.+)\]\((.+)\)$", index, re.MULTILINE)}
    records = {path.name: path.read_text() for path in DECISIONS.glob("*.md") if path.name != "README.md"}
    assert records
    assert listed == {name: text.splitlines()[0].removeprefix("# ") for name, text in records.items()}
    for name, text in records.items():
        assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], name


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    missing = [link for link in targets if not ((ROOT / page).parent / link).exists()]
    files = re.findall(r"`((?:hardwatt|deploys|inventory|tests|docs)/[\w/.-]+\.(?:py|md|toml))`", text)
    assert not missing + [name for name in files if not (ROOT / name).is_file()]


def names_of(path: Path) -> set[str]:
    """Return what a module defines at its top level, and the methods of its classes as ``Class.method``."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def missing_places(text: str) -> list[str]:
    """Return each ``PATH.py:NAME`` of a text that the tree does not have."""
    places = re.findall(r"([\w/.-]+\.py):(\w+(?:\.\w+)?)", text)
    return [
        f"{path}:{name}" for path, name in places if not (ROOT / path).is_file() or name not in names_of(ROOT / path)
    ]


def test_every_function_that_a_page_names_exists() -> None:
    text = (ROOT / "docs/contributing.md").read_text()
    assert text.count(".py:") > 40
    assert not missing_places(text)


def test_a_function_or_file_that_does_not_exist_is_found() -> None:
    known, unknown = "tasks.py:ns hardwatt/bundle/reader.py:Bundle.verify", "hardwatt/bundle/reader.py:Bundle.never"
    text = f"{known} {unknown} tasks.py:never a.py:b"
    assert missing_places(text) == [unknown, "tasks.py:never", "a.py:b"]
