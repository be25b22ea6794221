"""One embedded lab for all end-to-end tests, with a name of its own: never the user's.

The tests of this folder tell one story, in the order in which they stand: nothing, a plan, a
killed ``lab.up``, the lab, a second ``lab.up``, an experiment, down. A lab that an earlier run
left behind (killed, perhaps) is taken down first.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.support import Story, end_after_failure, lab_of_its_own, note_failure

_LATER = ("test_gitops.py", "test_jump_host.py", "test_living_pods.py", "test_ready.py", "test_sudo_e2e.py")
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
    with lab_of_its_own("test", "embedded") as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    note_failure(item, report, "e2e")
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    end_after_failure(item, _LAST)
