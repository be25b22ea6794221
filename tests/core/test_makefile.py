"""The Makefile with stub programs that write down their calls: what runs, in which order, and what a red part does."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["formatted", "lint", "types", "unit", "mirror", "e2e", "el8", "vm"]
PROGRAMS = {"SETUP": "setup", "RUFF": "ruff", "MYPY": "mypy", "PYTEST": "pytest", "INVOKE": "invoke"}
STUB = """#!/bin/sh
echo "{name} $*" >>"{log}"
case "{name} $*" in
{faults}
esac
[ {name} != pytest ] || printf 'passed 10\\nskipped 1\\n' >>"$HARDWATT_TALLY"
"""


class Checkout:
    """A folder with the Makefile and its script, and stubs in place of the programs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        (folder / "bootstrap").mkdir(parents=True)
        shutil.copy(ROOT / "Makefile", folder / "Makefile")
        shutil.copy(ROOT / "bootstrap/parts.sh", folder / "bootstrap/parts.sh")
        self.faults("")

    def faults(self, text: str) -> None:
        for name in PROGRAMS.values():
            stub = self.folder / name
            stub.write_text(STUB.format(name=name, log=self.log, faults=text))
            stub.chmod(0o755)

    def make(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        given = [f"{variable}=./{name}" for variable, name in PROGRAMS.items()]
        self.log.unlink(missing_ok=True)
        environment = {"PATH": "/usr/bin:/bin", **env}
        return subprocess.run(
            ["make", *words, *given], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    @property
    def called(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if not line.startswith("setup")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "my labs 100%" / "hardwatt")


def test_a_green_run_calls_every_part_once_and_closes_with_the_sums(checkout: Checkout) -> None:
    done = checkout.make("test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in checkout.called] == [
        "ruff",
        "ruff",
        "mypy",
        "pytest",
        "invoke",
        *["pytest"] * 3,
    ]
    *_, green, last = done.stdout.splitlines()
    assert green == f"green: {' '.join(PARTS)}"
    assert re.fullmatch(r"40 passed, 4 skipped in \d+\.\d\ds", last)


@pytest.mark.parametrize(
    ("fault", "red"),
    [
        ("'ruff format'*", "formatted"),
        ("'ruff check'*", "lint"),
        ("mypy*", "types"),
        ("'pytest -n'*", "unit"),
        ("'pytest -m el8'*", "el8"),
    ],
)
def test_a_red_part_keeps_no_later_one_from_running(checkout: Checkout, fault: str, red: str) -> None:
    checkout.make("test")
    every = checkout.called
    checkout.faults(f"{fault}) exit 1 ;;")
    done = checkout.make("test")
    assert done.returncode != 0
    assert checkout.called == every
    assert f"\nred: {red}\n" in done.stdout
    assert re.search(r"passed, .*1 error in \d+\.\d\ds\n\Z", done.stdout)


def test_red_tests_are_counted_as_what_they_are(checkout: Checkout) -> None:
    checkout.faults("pytest*) printf 'failed 2\\npassed 8\\n' >>\"$HARDWATT_TALLY\"; exit 1 ;;\nmypy*) exit 1 ;;")
    done = checkout.make("check")
    assert done.returncode != 0
    assert "\nred: types unit\n" in done.stdout
    assert re.search(r"^2 failed, 8 passed, 1 error in \d+\.\d\ds\n\Z", done.stdout, re.MULTILINE)


def test_without_a_mirror_the_parts_that_need_it_are_red_and_not_run(checkout: Checkout) -> None:
    checkout.faults("invoke*) exit 1 ;;")
    done = checkout.make("test")
    assert done.returncode != 0
    assert [line.split()[0] for line in checkout.called] == ["ruff", "ruff", "mypy", "pytest", "invoke"]
    assert "\nred: mirror e2e(not-run) el8(not-run) vm(not-run)\n" in done.stdout
    assert "4 errors" in done.stdout.splitlines()[-1]


def test_a_part_alone_fills_the_mirror_first(checkout: Checkout) -> None:
    assert checkout.make("e2e", HARDWATT_TALLY="/dev/null").returncode == 0
    assert [line.split()[0] for line in checkout.called] == ["invoke", "pytest"]


def test_parts_run_one_after_the_other_whatever_make_is_told(checkout: Checkout) -> None:
    checkout.make("test")
    every = checkout.called
    assert checkout.make("-j8", "-k", "test").returncode == 0
    assert checkout.called == every


def test_a_set_up_that_fails_is_the_whole_answer(checkout: Checkout) -> None:
    checkout.faults("setup*) exit 1 ;;")
    assert checkout.make("test").returncode != 0
    assert not checkout.called


def test_the_long_tests_explore_with_a_seed_that_is_printed_and_can_be_given(checkout: Checkout) -> None:
    checkout.faults('pytest*) echo "kill $HARDWATT_KILL_SEED" >>"$HARDWATT_TALLY" ;;')
    done = checkout.make("test-long")
    assert done.returncode == 0, done.stdout + done.stderr
    (seed,) = set(re.findall(r"SEED=(\d+)", done.stdout))
    assert any(line.endswith(f"--hypothesis-profile=explore --hypothesis-seed={seed}") for line in checkout.called)
    again = checkout.make("test-long", "SEED=17")
    assert "make test-long SEED=17" in again.stdout
    assert any(line.endswith("--hypothesis-seed=17") for line in checkout.called)
    other = checkout.make("test-long")
    assert f"SEED={seed}" not in other.stdout


def test_ci_runs_make_test() -> None:
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == "exec make test"
