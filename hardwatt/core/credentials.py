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
    if value := os.environ.get(variable, "").strip():
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


@functools.cache
def _prompt(variable: str, what: str) -> str:
    try:
        value = getpass.getpass(f"{what} (not shown, kept nowhere): ").strip()
    except EOFError:  # Ctrl-D
        print(file=sys.stderr)
        value = ""
    if not value:
        raise SettingsError(f"{what} is empty", hint=f"run the command again, or export {variable}")
    return value
