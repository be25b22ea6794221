"""``invoke`` in this process, with no task that opens a lab."""

import contextlib
import io
from pathlib import Path

import pytest
from invoke import Program

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def nothing_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("a task ran")

    monkeypatch.setattr("hardwatt.config.lab.open_lab", refuse)
    monkeypatch.chdir(ROOT)


def run(*argv: str) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        Program(name="Invoke", binary="inv[oke]").run(["invoke", *argv])
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()
