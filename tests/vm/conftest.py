"""One virtual machine for all tests of this folder, in a lab of its own name: never the user's.

They tell one story: a machine as RHEL 8.6 comes (cgroup v1), what is wrong with it, the lab, no
changes, a reboot, and nothing left. After the first failure the rest is not told.
"""

from collections.abc import Generator, Iterator

import pytest

from tests.e2e.support import Story, end_after_failure, lab_of_its_own, note_failure

_LAST = "test_down_leaves_nothing_behind_on_the_host"


@pytest.fixture(scope="session")
def story() -> Iterator[Story]:
    with lab_of_its_own("vm", "vm") as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    note_failure(item, report, "vm")
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    end_after_failure(item, _LAST)
