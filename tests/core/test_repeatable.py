"""Tests give the same answer each time and on every machine: what decides that is fixed in tests/conftest.py."""

import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[2]
PROPERTY = """
from hypothesis import given, settings, strategies as st
@settings(max_examples=20)
@given(st.integers(0, 10**9))
def test_of_chance(number):
    print("drawn", number)
"""


def drawn(folder: Path, *words: str, text: str = PROPERTY, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a property test in a folder with this checkout's conftest."""
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (folder / "test_property.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *words, "test_property.py"],
        cwd=folder, env={"PATH": os.environ["PATH"], "HOME": str(folder), **env},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def numbers(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if "drawn" in line]


def test_property_tests_draw_the_same_examples_and_keep_none(tmp_path: Path) -> None:
    first, again = (numbers(drawn(tmp_path, **env)) for env in ({}, {"CI": "true", "PYTHONHASHSEED": "7"}))
    assert first == again
    assert len(first) == 20
    assert not (tmp_path / ".hypothesis" / "examples").exists()


def test_exploring_draws_others_and_prints_the_seed_that_repeats_it(tmp_path: Path) -> None:
    explore = ("--hypothesis-profile=explore",)
    one = drawn(tmp_path, *explore, "--hypothesis-seed=11")
    assert numbers(one) == numbers(drawn(tmp_path, *explore, "--hypothesis-seed=11"))
    assert numbers(one) != numbers(drawn(tmp_path, *explore, "--hypothesis-seed=12"))
    assert "again: make test-long SEED=11" in one.stdout
    assert "passed" in one.stdout.splitlines()[-1]


def test_what_was_counted_is_written_for_the_sum(tmp_path: Path) -> None:
    drawn(tmp_path, HARDWATT_TALLY=str(tmp_path / "tally"))
    assert (tmp_path / "tally").read_text() == "passed 1\n"


def test_the_default_profile_is_the_repeatable_one() -> None:
    if settings.get_current_profile_name() == "explore":
        pytest.skip("this run explores")
    assert settings.default is not None
    assert settings.default.derandomize
    assert settings.default.database is None
    assert settings.default.deadline is None


def test_the_users_settings_reach_no_test() -> None:
    assert time.tzname[0] == "UTC"
    assert os.environ["LC_ALL"] == "C.UTF-8"
    assert not [name for name in os.environ if name.lower().endswith("_proxy")]
    shown = subprocess.run(["git", "config", "--list", "--global"], capture_output=True, text=True, check=True).stdout
    assert "user.email=test@example.org" in shown
    assert os.environ["HOME"] != pwd.getpwuid(os.getuid()).pw_dir
    assert not list(Path.home().iterdir())
    umask = os.umask(0o022)
    assert umask == 0o022


def test_no_variable_of_the_caller_reaches_a_test(tmp_path: Path) -> None:
    """What a hundred tools read from the environment: a few of them, and one that nobody knows."""
    given = dict.fromkeys(
        ("TAR_OPTIONS", "INVOKE_TASKS_SEARCH_ROOT", "GREP_OPTIONS", "MAKEFLAGS", "BASH_ENV", "KUBECONFIG",
         "SSH_AUTH_SOCK", "GITHUB_TOKEN", "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE", "SOURCE_DATE_EPOCH",
         "XDG_CONFIG_HOME", "COLUMNS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GOFLAGS", "PIP_INDEX_URL",
         "https_proxy", "HARDWATT_LAB", "NOBODYS"),
        "x",
    )  # fmt: skip
    done = drawn(tmp_path, text="import os\n\n\ndef test_it():\n    print(sorted(os.environ))\n", **given)
    assert "'PATH'" in done.stdout, done.stdout + done.stderr
    assert [name for name in given if f"'{name}'" in done.stdout] == []
