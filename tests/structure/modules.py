"""The modules of the package as files, and who imports whom: read from the source, nothing is run."""

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

ORDER = (
    "core",
    "meter.zones", "meter.accuracy",
    "bundle",
    "instruments",
    "analysis",
    "report",
    "config",
    "connect",
    "machines.base", "machines.identity", "machines.host_facts", "machines.rootfs",
    "mirror.build", "mirror",
    "machines.timeouts", "machines.local", "machines.embedded", "machines.vm", "machines",
    "cluster",
    "meter",
    "provision",
    "gitops",
    "dump",
    "energy",
    "experiment.plan", "experiment.host", "experiment.arm", "experiment.testbed", "experiment.run",
    "experiment",
    "delivery",
    "lifecycle",
    "cli",
    "testing",
)  # fmt: skip
"""The rooms of ``hardwatt/``. Each may import from those before it and never from those behind it.

A name is a package or one module of it; the longest that fits a module decides. To put a room elsewhere, change this
list. ``meter.zones`` is the rule that daemon, instruments and deploys share, and
``meter.accuracy`` is the published accuracy of its counters. ``bundle`` to ``report`` stand before
whatever knows a lab, because the bare wheel has them.
"""


def modules(root: Path, package: str = "hardwatt") -> dict[str, Path]:
    """Return module name -> file of each module below ``root/package``."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: Iterable[str]) -> set[str]:
    """Return the modules out of ``known`` that a file imports, anywhere in it: in functions and for types too."""
    names = set(known)
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & names
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                found |= {inside if inside in names else node.module} & names
    return found


@functools.cache
def graph(root: Path, package: str = "hardwatt") -> dict[str, set[str]]:
    """Return module -> modules of the package that it imports."""
    files = modules(root, package)
    return {name: imported(path, files) - {name} for name, path in files.items()}


def room(module: str, order: Sequence[str]) -> str:
    """Return the entry of the order that a module belongs to; empty: none."""
    parts = module.split(".")[1:]
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((name for name in names if name in order), "")


def upward(edges: Mapping[str, set[str]], order: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each import that runs up, and for each module without a room."""
    floors = {name: floor for floor, name in enumerate(order)}
    for module, targets in sorted(edges.items()):
        if "." not in module:
            continue
        here = room(module, order)
        if not here:
            yield f"{module} has no room in ORDER"
            continue
        for target in sorted(targets):
            there = room(target, order)
            if there and floors[there] > floors[here]:
                yield f"{module} imports {target}, but {there} stands behind {here} in ORDER"


def circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Return each group of modules that import each other in a circle (Tarjan's components of more than one)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = []
            while True:
                group.append(stack.pop())
                if group[-1] == node:
                    break
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found
