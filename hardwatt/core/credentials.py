"""Tokens and passwords: from the environment or a prompt, and kept nowhere."""

import functools
import getpass
import os
import sys

from hardwatt.core.errors import SettingsError


def ask(variable: str, what: str) -> str:
    """Return the secret in an environment variable (one of ``process.SECRETS``), else ask for it.

    Asked once a command. Raises ``SettingsError`` where there is neither a value nor a terminal.
    """
    if (value := _without_line_end(os.environ.get(variable, ""))).strip():
        return value
    if not sys.stdin.isatty():
        raise SettingsError(
            f"{variable} is not set, and there is no terminal to ask for {what}",
            hint=f"read -rs {variable} && export {variable}; then run the command again",
        )
    return _prompt(variable, what)


def forget() -> None:
    """Ask anew the next time: what was typed was wrong."""
    _prompt.cache_clear()


def _without_line_end(secret: str) -> str:
    """Return a secret as it was given: blanks may be part of a password, an end of line is a file's."""
    return secret.strip("\r\n")


@functools.cache
def _prompt(variable: str, what: str) -> str:
    try:
        value = _without_line_end(getpass.getpass(f"{what} (not shown, kept nowhere): "))
    except EOFError:  # Ctrl-D
        print(file=sys.stderr)
        value = ""
    if not value.strip():
        raise SettingsError(f"{what} is empty", hint=f"run the command again, or export {variable}")
    return value
