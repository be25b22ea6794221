"""What every test runs with: nothing of the user's, of the clock's or of chance decides a result.

Property tests try the same examples each time and store none. ``make test-long`` explores with a seed of chance and
prints it; ``make test-long SEED=N`` runs the same examples again.
"""

import itertools
import os
import re
import sys
import tempfile
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
_KEPT = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONPATH",
    "PYTHONHASHSEED", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "SUDO_USER", "SUDO_UID", "SUDO_GID",
    # what a run of tests is given on purpose
    "HARDWATT_CONFIG", "HARDWATT_KILL_SEED", "HARDWATT_KEPLER_ARCHIVE", "HARDWATT_WRITE_PLANS",
})  # fmt: skip
"""Of the caller's environment every other variable is left out: one in a hundred programs reads it."""
_KEPT_PREFIXES = ("PYTEST_", "PYENV_", "COVERAGE_")
_OF_THE_NETWORK = re.compile(
    r"(?i)(https?|ftp|all|no)_proxy|.*(CA|CERT)(_|S?$).*|.*CAINFO|PIP_.*|UV_.*|GO[A-Z]+|NPM_.*"
)
"""How this machine gets at the network: for tests that need it."""
_NEEDS_THE_NETWORK = ("e2e", "mirror", "el8", "vm", "long")


def _one_environment() -> str:
    """Give the process, and every program that it starts, one environment; return the file of the sums, if any."""
    tally = os.environ.get("HARDWATT_TALLY", "")
    for name in list(os.environ):
        if not (name in _KEPT or name.startswith(_KEPT_PREFIXES) or _OF_THE_NETWORK.fullmatch(name)):
            del os.environ[name]
    # Built programs stay in the user's cache, wherever HOME is.
    os.environ.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    os.environ |= {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", "GIT_CONFIG_NOSYSTEM": "1"}
    os.environ["GIT_TERMINAL_PROMPT"] = "0"
    # Else every program that a test starts compiles the package anew. Python checks a cached file by its source.
    sys.dont_write_bytecode = False
    time.tzset()
    os.umask(0o022)
    return tally


# Before other conftest.py files import what keeps a variable, as a terminal's width.
_TALLY = _one_environment()


@pytest.fixture(autouse=True, scope="session")
def git_config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Git finds this configuration and no other."""
    file = tmp_path_factory.mktemp("git") / "config"
    file.write_text(GIT_CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(file))
        yield


def _needs_the_network(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) for mark in _NEEDS_THE_NETWORK)


def _names_of_the_network() -> list[str]:
    return [name for name in os.environ if _OF_THE_NETWORK.fullmatch(name)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave out the user's home, proxies and authorities where no test needs the network.

    For the whole process, because fixtures of a session come before those of a test, and urllib keeps the proxies of
    its first request.
    """
    if not any(_needs_the_network(item) for item in session.items):
        for name in _names_of_the_network():
            del os.environ[name]
        home = tempfile.TemporaryDirectory(prefix="hardwatt-home-")
        session.config.add_cleanup(home.cleanup)
        os.environ["HOME"] = home.name


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders in which nothing is configured: no ~/.ssh, ~/.netrc, ~/.invoke.yaml, ~/.curlrc, ~/.config."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def nothing_of_the_user(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, homes: Iterator[Path]) -> None:
    """Give a test that needs no network an empty home, and no settings of a network in a run with others."""
    if not _needs_the_network(request.node):
        home = next(homes)
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        for name in _names_of_the_network():
            monkeypatch.delenv(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the seed of an exploring run (``-q`` hides hypothesis' header), and count for bootstrap/parts.sh."""
    seed = config.getoption("--hypothesis-seed")
    if seed is not None:
        terminalreporter.line(f"property tests explored with seed {seed}; again: make test-long SEED={seed}")
    if _TALLY:
        with Path(_TALLY).open("a") as opened:
            for name, reports in terminalreporter.stats.items():
                if name:
                    opened.write(f"{name} {len(reports)}\n")
