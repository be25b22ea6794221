"""One virtual machine for all tests of this folder, in a lab of its own name: never the user's.

They tell one story: a machine as RHEL 8.6 comes (cgroup v1), what is wrong with it, the lab, no
changes, a reboot, and nothing left. After the first failure the rest is not told.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt import hostrecord
from hardwatt.lab import open_lab
from hardwatt.settings import default_name
from tests.e2e.support import Story

_FIRST_FAILURE = pytest.StashKey[str]()
_LAST = "test_down_leaves_nothing_behind_on_the_host"


@pytest.fixture(scope="session")
def story() -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="hardwatt-vm-") as folder:
        patch.setenv("HARDWATT_LAB", "vm-" + default_name().removeprefix("lab-"))
        config = Path(folder) / "lab.toml"
        config.write_text(f'machine = "vm"\nresults = "{folder}/results"\n')
        patch.setenv("HARDWATT_CONFIG", str(config))
        made = Story(open_lab(), {}, dict(os.environ))
        made.invoke("lab.down", "--yes")
        made.before = hostrecord.take()
        yield made
        made.invoke("lab.down", "--yes")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed and item.get_closest_marker("vm"):  # type: ignore[attr-defined] # pluggy's result is untyped
        item.session.stash.setdefault(_FIRST_FAILURE, item.name)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """After the first failure the rest is not told: it would only fail for the same reason."""
    first = item.session.stash.get(_FIRST_FAILURE, "")
    if first and item.name != _LAST:
        pytest.fail(f"not run, because {first} failed before")
