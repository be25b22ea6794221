"""One leaf imports what it needs: no cluster, no tables, no statistics where none are asked for."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.structure.modules import ROOT, modules

SCRIPT = """
import importlib, json, sys, time
before = set(sys.modules)
begun = time.process_time()
for name in sys.argv[1:]:
    importlib.import_module(name)
took = time.process_time() - begun
print(json.dumps({"took": took, "modules": sorted(set(sys.modules) - before)}))
"""
HEAVY = {"kubernetes", "polars", "scipy", "numpy", "pyinfra", "gevent", "prometheus_api_client", "pandas", "jinja2"}
LAB_EXTRA = {"pyinfra", "kubernetes", "invoke", "paramiko", "prometheus_api_client", "yaml", "isal", "requests"}
ROOMS = ("bundle", "instruments", "analysis", "report")
WHEEL = tuple(f"hardwatt.{room}" for room in ROOMS)


def imports(*names: str) -> tuple[set[str], float]:
    """Return the modules that importing some brings in a fresh process, and its seconds of CPU time."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return set(answer["modules"]), answer["took"]


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    ("leaf", "most"),
    [
        ("hardwatt.provision.node_data", 36),
        ("hardwatt.config.settings", 7),
        ("hardwatt.connect.ssh", 18),  # with its host keys and its sessions, modules of their own
        ("hardwatt.meter.models", 6),
        ("hardwatt.core.process", 9),
        ("hardwatt.cli.console", 19),  # with each file of commands, which --help lists
        ("hardwatt.experiment.plan.study_file", 16),
    ],
)
def test_a_leaf_brings_few_modules_and_nothing_heavy(
    leaf: str, most: int, record_property: Callable[[str, object], None]
) -> None:
    """The count is what decides, because a clock depends on the machine; the seconds go into the test's record."""
    found, took = imports(leaf)
    record_property("seconds of CPU time", round(took, 3))
    assert not tops(found) & HEAVY
    own = sorted(name for name in found if name.startswith("hardwatt"))
    assert len(own) <= most, own


def test_the_list_of_all_commands_brings_the_standard_library_alone() -> None:
    brought, _ = imports("hardwatt.cli.console", "hardwatt.cli.overview", "hardwatt.cli.completion")
    assert tops(brought) - {"hardwatt"} <= set(sys.stdlib_module_names)


def test_a_heavy_import_would_be_seen() -> None:
    found, _ = imports("hardwatt.cluster.client")
    assert tops(found) & HEAVY == {"kubernetes"}


def test_what_the_bare_wheel_has_brings_nothing_of_the_lab_extra() -> None:
    """In one process: what any of the rooms brings is in what all of them bring."""
    found, _ = imports(*(name for name in modules(ROOT) if name.startswith(WHEEL)))
    assert not tops(found) & LAB_EXTRA
    shared = {
        "hardwatt.meter",
        "hardwatt.meter.zones",
        "hardwatt.meter.accuracy",
    }  # rules of energy zones, which are pure
    knows = {name.split(".")[1] for name in found if name.startswith("hardwatt.") and name not in shared}
    assert set(ROOMS) <= knows <= {"core", *ROOMS}


def test_what_reads_a_dump_brings_nothing_of_the_lab_extra() -> None:
    found, _ = imports(*(f"hardwatt.dump.{name}" for name in ("parse", "selectors", "errors", "openmetrics")))
    assert not tops(found) & LAB_EXTRA


@pytest.mark.parametrize("package", ROOMS)
def test_the_api_of_the_wheel_is_handed_on_by_name(package: str) -> None:
    script = f"import hardwatt.{package} as p; print(sorted(n for n in p.__all__ if getattr(p, n) is None)); p.nothing"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
    assert f"module 'hardwatt.{package}' has no attribute 'nothing'" in done.stderr
