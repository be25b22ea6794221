"""What every test runs with: nothing of the user's, of the clock's or of chance decides a result.

Property tests try the same examples each time and store none. ``make test-long`` explores with a seed of chance and
prints it; ``make test-long SEED=N`` runs the same examples again.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# A deadline would let the load of the machine decide.
settings.register_profile("default", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", derandomize=False, database=None, deadline=None, max_examples=500, print_blob=True)
settings.load_profile("default")

GIT_CONFIG = (
    "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n[safe]\n\tdirectory = *\n"
)
"""Instead of the user's, whose signing, hooks or line ends would decide."""
_OF_THE_USER = ("LANGUAGE", "EMAIL", "KUBECONFIG", "FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES")
_PREFIXES = ("GIT_", "LC_", "HARDWATT_")
_KEPT = ("HARDWATT_CONFIG", "HARDWATT_KILL_SEED", "HARDWATT_KEPLER_ARCHIVE", "HARDWATT_WRITE_PLANS")
"""What a run of tests is given on purpose."""
_TALLY = pytest.StashKey[str]()
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")
_NEEDS_THE_NETWORK = ("e2e", "mirror", "el8", "vm", "long")


def pytest_configure(config: pytest.Config) -> None:
    """Give the process, and every program that it starts, one environment."""
    config.stash[_TALLY] = os.environ.get("HARDWATT_TALLY", "")
    for name in list(os.environ):
        if name in _OF_THE_USER or (name.startswith(_PREFIXES) and name not in _KEPT):
            del os.environ[name]
    os.environ |= {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", "GIT_CONFIG_NOSYSTEM": "1"}
    os.environ["GIT_TERMINAL_PROMPT"] = "0"
    # Else every program that a test starts compiles the package anew. Python checks a cached file by its source.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    time.tzset()
    os.umask(0o022)


@pytest.fixture(autouse=True, scope="session")
def git_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Git finds this configuration and no other."""
    file = tmp_path_factory.mktemp("git") / "config"
    file.write_text(GIT_CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(file))
        yield


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave out the user's proxies where no test needs the network: servers of tests are on loopback.

    For the whole process, because fixtures of a session come before those of a test, and urllib keeps the proxies of
    its first request.
    """
    if not any(item.get_closest_marker(mark) for item in session.items for mark in _NEEDS_THE_NETWORK):
        for name in list(os.environ):
            if name.lower() in _PROXIES:
                del os.environ[name]


@pytest.fixture(autouse=True)
def no_proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for one test in a run that has others beside it."""
    if not any(request.node.get_closest_marker(mark) for mark in _NEEDS_THE_NETWORK):
        for name in list(os.environ):
            if name.lower() in _PROXIES:
                monkeypatch.delenv(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the seed of an exploring run (``-q`` hides hypothesis' header), and count for bootstrap/parts.sh."""
    seed = config.getoption("--hypothesis-seed")
    if seed is not None:
        terminalreporter.line(f"property tests explored with seed {seed}; again: make test-long SEED={seed}")
    if tally := config.stash[_TALLY]:
        with Path(tally).open("a") as opened:
            for name, reports in terminalreporter.stats.items():
                if name:
                    opened.write(f"{name} {len(reports)}\n")
