"""Names that have changed, and today's names.

A former name that a person writes (``lab.toml``, a command line, an arm) is refused with today's name. A former name
in a file that the toolkit wrote (a lab's state, an experiment's journal) is translated when the file is read.
Files made at commit 800bb92 or later are read. ``node.json`` has a reader of its own, ``deploys/contract.py``, which
imports nothing of the toolkit.
"""

import ast
from collections.abc import Iterator, Mapping
from typing import Any

SETTINGS = {
    "host.patience": "host.timeout_factor",
    "host.headers": "host.kernel_headers",
    "host.nokmem": "host.disable_kmem_accounting",
}
"""Keys of ``lab.toml``."""

TASKS = {"lab.first": "lab.quickstart"}
"""Tasks of ``invoke``."""

ENDPOINT = {"reading_interval": "scrape_interval"}
"""Keys of a node's endpoint, as ``machine.json`` and ``tunnel.json`` hold it."""

VERSIONS = {"toolkit (engine, dump, meter)": "toolkit (experiment, delivery, cluster, dump, meter)"}
"""Labels of the versions in an experiment's journal."""

_DELIVERY = {
    "Buildbot": "hardwatt.delivery.buildbot.Buildbot",
    "Burner": "hardwatt.delivery.burn.Burner",
    "Flux": "hardwatt.delivery.flux.Flux",
    "Runner": "hardwatt.delivery.runner.Runner",
    "deployment_patch": "hardwatt.delivery.flux.deployment_patch",
    "flux_off": "hardwatt.delivery.flux.flux_off",
}
_ARM_CODE = {
    "hardwatt.door": "hardwatt.core.process",
    "hardwatt.engine": "hardwatt.experiment",
    "hardwatt.engine.arm": "hardwatt.experiment.arm",
    "hardwatt.engine.cluster": "hardwatt.cluster.objects",
    "hardwatt.engine.studymodel": "hardwatt.experiment.plan.study_model",
    "hardwatt.engine.undo": "hardwatt.cluster.changes",
    "hardwatt.errors": "hardwatt.core.errors",
    "hardwatt.files": "hardwatt.core.files",
    "hardwatt.lab": "hardwatt.config.lab",
    "hardwatt.progress": "hardwatt.core.progress",
    "hardwatt.settings": "hardwatt.config.settings",
    "hardwatt.wait": "hardwatt.core.wait",
    "hardwatt.engine.arm.Bench": "hardwatt.experiment.arm.RunContext",
    "self.bench": "self.context",
    **{f"hardwatt.delivery.{name}": today for name, today in _DELIVERY.items()},
}
"""Modules, classes and the attribute that an arm's code uses."""


def translated(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return stored data with today's keys; a key that has both names keeps today's value."""
    former = {names[key]: value for key, value in data.items() if key in names}
    return {**former, **{key: value for key, value in data.items() if key not in names}}


def refusal(name: str, names: Mapping[str, str]) -> str:
    """Return the sentence that refuses a former name, or an empty string if the name has not changed."""
    return f"{name} is called {names[name]} now" if name in names else ""


def in_arm(code: str) -> list[str]:
    """Return a refusal for each former name in an arm's code, in the order of its lines; nothing is run."""
    try:
        tree = ast.parse(code)
    except SyntaxError:  # reported by whoever loads the arm
        return []
    used = sorted((line, name) for node in ast.walk(tree) for line, name in _used(node))
    return list(dict.fromkeys(said for _, name in used if (said := refusal(name, _ARM_CODE))))


def _used(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of what an import or an attribute's access uses."""
    if isinstance(node, ast.Import):
        yield from ((node.lineno, alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.lineno, node.module
        yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.lineno, f"{node.value.id}.{node.attr}"
