"""A reader that leaves before all is printed: the command ends without a word."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hardwatt.cli import output
from tests.cli.invoked import ROOT

PROGRAMS = Path(sys.executable).parent


def unread(*argv: str, unbuffered: bool, cwd: Path = ROOT) -> tuple[int, str]:
    """Run a program whose standard output nobody reads; return its exit code and its errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARDWATT_LAB": "never-made"}
    environment |= {"PYTHONUNBUFFERED": "1"} if unbuffered else {}
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            argv, cwd=cwd, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize(
    "line",
    [
        "hardwatt --help",
        "hardwatt --help lab",
        "hardwatt --complete lab",
        "hardwatt energy.help",
        "hardwatt mirror.list",
        "invoke --list",
        "invoke --help lab",
        "invoke energy.help",
        "invoke experiment.list",
    ],
)
def test_a_command_ends_quietly_when_its_reader_has_left(line: str, unbuffered: bool) -> None:
    program, *words = line.split()
    assert unread(str(PROGRAMS / program), *words, unbuffered=unbuffered) == (output.READER_LEFT, "")


@pytest.mark.parametrize("unbuffered", [False, True])
def test_an_error_is_printed_though_nobody_reads_the_output(tmp_path: Path, unbuffered: bool) -> None:
    words = ("table", "no-such.csv")
    code, errors = unread(str(PROGRAMS / "hardwatt"), *words, unbuffered=unbuffered, cwd=tmp_path)
    assert (code, errors) == (1, "error: there is no table at no-such.csv\n")


def test_a_connection_that_broke_is_not_taken_for_the_reader() -> None:
    with pytest.raises(BrokenPipeError), output.reader_may_leave():
        raise BrokenPipeError("the host has closed the connection")
