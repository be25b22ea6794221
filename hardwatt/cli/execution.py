"""A command's run: its needs, its lab, its errors and its exit code, the same in both views."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.cli import output
from hardwatt.cli.registry import CHECKOUT, EXTRA, Command
from hardwatt.core.errors import LabError, RefusedError, next_after

_CHECKOUT = Path(__file__).resolve().parents[2]
_OF_EXTRA = ("invoke", "pyinfra", "kubernetes")
"""Modules that only the extra has."""
INTERRUPTED = 130
_AFTER_SYSTEM = "mend what the error names (permission, space, kind of file), then run the same command again"


def execute(command: Command, given: Mapping[str, Any]) -> int:
    """Run a command with the values of its arguments by name; print its errors.

    Returns its exit code: 0 done, 1 refused with a reason, 2 an option is missing, 130 Ctrl-C, 141 nobody reads what it
    prints any more.
    """
    from hardwatt.core import terminal  # only here: completion and help print no foreign text

    if os.environ.get("HARDWATT_DEBUG"):
        import logging

        logging.basicConfig(level=logging.DEBUG)
    try:
        with output.reader_may_leave(), terminal.printable_output():
            require(command)
            return command.function(*_opened(command), **command.converted(given)) or 0
    except LabError as error:
        if not given.get("only"):  # a command for single steps is another one than that for all
            error.hint = next_after(command.name, error.hint)
        terminal.complain(f"error: {error}")
        return error.exit_code
    except (OSError, UnicodeError) as error:
        terminal.complain(f"error: {_of_system(error)}\n  next: {_AFTER_SYSTEM}")
        return LabError.exit_code
    except KeyboardInterrupt as pressed:
        again = "goes on from here" if command.takes_lab else "begins again"
        terminal.complain(str(pressed) or f"interrupted; the same command {again}")
        return INTERRUPTED
    except output.ReaderLeftError:
        return output.READER_LEFT


def _of_system(error: OSError | UnicodeError) -> str:
    """Return what the operating system refused, with the file that it was about."""
    if isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        return f"{' and '.join(names)}: {error.strerror}" if names else error.strerror
    return str(error) or type(error).__name__


def _opened(command: Command) -> list[Any]:
    if not command.takes_lab:
        return []
    from hardwatt.config.lab import open_lab
    from hardwatt.machines import timeouts

    lab = open_lab()
    timeouts.apply(lab)
    return [lab]


def require(command: Command) -> None:
    """Raise ``RefusedError`` naming what is missing here for a command."""
    if not command.needs:
        return
    missing = lacking()
    if CHECKOUT in command.needs and CHECKOUT in missing:
        raise RefusedError(
            f"{command.name} works on a lab and needs a checkout of hardwatt, and this is the installed package alone",
            hint=f"in a checkout: make setup, then .venv/bin/invoke {command.name}; without one: hardwatt --help",
        )
    if EXTRA in command.needs and EXTRA in missing:
        raise RefusedError(
            f"{command.name} needs the extra lab of hardwatt, and this environment has no {missing[EXTRA]}",
            hint=f"make setup, then .venv/bin/invoke {command.name}",
        )


def lacking() -> dict[str, str]:
    """Return what commands may need and this installation has not -> what is missing of it."""
    missing = {}
    if not (_CHECKOUT / "deploys" / "node.py").is_file():
        missing[CHECKOUT] = "deploys/"
    if absent := [name for name in _OF_EXTRA if not _installed(name)]:
        missing[EXTRA] = ", ".join(absent)
    return missing


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # a finder that refuses it
        return False
