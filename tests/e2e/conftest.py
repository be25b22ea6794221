"""One embedded lab for all end-to-end tests, with a name of its own: never the user's.

The tests of this folder tell one story, in the order in which they stand: nothing, a plan, a
killed ``lab.up``, the lab, a second ``lab.up``, an experiment, down. A lab that an earlier run
left behind (killed, perhaps) is taken down first.
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
_LATER = ("test_gitops.py", "test_reach.py")
_LAST = "test_down_leaves_nothing_behind"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tell what needs the lab (``_LATER``) after the story and before its end."""
    here = [item for item in items if item.path.parent == Path(__file__).parent]
    rest = [item for item in items if item not in here]
    items[:] = rest + sorted(here, key=lambda item: (item.name == _LAST, item.path.name in _LATER))


@pytest.fixture(scope="session")
def story() -> Iterator[Story]:
    if os.geteuid() != 0:
        pytest.fail("the embedded node needs root: run make test as root, or with sudo")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="hardwatt-e2e-") as folder:
        patch.setenv("HARDWATT_LAB", "test-" + default_name().removeprefix("lab-"))
        config = Path(folder) / "lab.toml"
        config.write_text(f'machine = "embedded"\nresults = "{folder}/results"\n')
        patch.setenv("HARDWATT_CONFIG", str(config))
        made = Story(open_lab(), {}, dict(os.environ))
        made.invoke("lab.down", "--yes")
        made.before = hostrecord.take()
        yield made
        made.invoke("lab.down", "--yes")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed and item.get_closest_marker("e2e"):  # type: ignore[attr-defined] # pluggy's result is untyped
        item.session.stash.setdefault(_FIRST_FAILURE, item.name)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """After the first failure the rest is not told: it would only fail for the same reason."""
    first = item.session.stash.get(_FIRST_FAILURE, "")
    if first and item.name != _LAST:
        pytest.fail(f"not run, because {first} failed before")
