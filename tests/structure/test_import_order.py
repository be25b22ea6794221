"""Who may import whom: the rooms of ``hardwatt/`` in one order, no import up, no circle."""

import ast
import subprocess
from pathlib import Path

import pytest

from tests.structure.modules import ORDER, ROOT, circles, graph, modules, room, upward


def write_tree(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_no_import_runs_up() -> None:
    assert not list(upward(graph(ROOT), ORDER))


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert not circles(graph(ROOT))


def test_every_room_of_the_order_is_there_once() -> None:
    lived_in = {room(module, ORDER) for module in modules(ROOT)}
    assert [name for name in ORDER if name not in lived_in] == []
    assert len(set(ORDER)) == len(ORDER)


@pytest.mark.parametrize("where", ["{}\n", "def f() -> None:\n    {}\n", "class A:\n    def f(self):\n        {}\n"])
def test_an_import_that_runs_up_is_found_and_both_modules_are_named(tmp_path: Path, where: str) -> None:
    write_tree(tmp_path, {"h/low/a.py": where.format("from h.high import b"), "h/high/b.py": "import h.low.a\n"})
    found = list(upward(graph(tmp_path, "h"), ("low", "high")))
    assert found == ["h.low.a imports h.high.b, but high stands behind low in ORDER"]
    assert circles(graph(tmp_path, "h")) == [["h.high.b", "h.low.a"]]


def test_a_circle_of_three_in_one_room_is_found(tmp_path: Path) -> None:
    late = "def f():\n    from h.r.a import x\n"
    write_tree(tmp_path, {"h/r/a.py": "from h.r.b import y\n", "h/r/b.py": "from h.r import c\n", "h/r/c.py": late})
    assert circles(graph(tmp_path, "h")) == [["h.r.a", "h.r.b", "h.r.c"]]


def test_a_module_without_a_room_is_named(tmp_path: Path) -> None:
    write_tree(tmp_path, {"h/new/a.py": ""})
    assert list(upward(graph(tmp_path, "h"), ("low",))) == ["h.new.a has no room in ORDER"]


def test_the_root_holds_the_packages_of_the_order_and_nothing_else() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "hardwatt"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    first = {Path(name).parts[1] for name in listed}
    assert first == {"__init__.py", "py.typed", "data", *(name.partition(".")[0] for name in ORDER)}


def test_no_init_imports_its_package() -> None:
    """Importing a leaf imports that leaf. The names of the wheel are handed on when they are used, by one helper."""
    assert graph(ROOT)["hardwatt.core.lazy_names"] == set()
    helper = "from hardwatt.core.lazy_names import lazy_names"
    wrong = []
    for module, path in modules(ROOT).items():
        if path.name == "__init__.py":
            for node in ast.parse(path.read_text()).body:
                names = ast.unparse(node) if isinstance(node, ast.Import | ast.ImportFrom) else ""
                if "hardwatt" in names and names != helper:
                    wrong.append(f"{module}: {names}")
    assert not wrong


def test_nothing_inside_is_imported_through_an_init() -> None:
    files = modules(ROOT)
    inits = {name for name, path in files.items() if path.name == "__init__.py" and name != "hardwatt"}
    wrong = {name: sorted(targets & inits) for name, targets in graph(ROOT).items() if targets & inits}
    assert not wrong
