"""The errors of the toolkit: what is wrong, and what to do next.

    LabError
    ├── SettingsError   a value in lab.toml or in the environment
    ├── CommandError    a program that was run ended badly
    ├── WaitError       something did not become ready, or said that it never will
    ├── VerifyError     a download, archive or bundle is not what it should be
    ├── RefusedError    going on would lose something or break a promise
    └── LockedError     another command works on this lab

Only ``hardwatt.cli.execution`` turns them into exit codes.
"""

import shlex
from collections.abc import Sequence
from typing import ClassVar

_OUTPUT_LIMIT = 2000


class LabError(Exception):
    """Anything that a person can mend, with a hint at the next command."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message


_INSTEAD = {
    "lab.status": "invoke lab.up",
    "lab.up": "invoke lab.check; on the node (invoke lab.machine.shell): journalctl -eu kubelet",
    "lab.kubeconfig": "invoke lab.up",
}
"""The next command where an error names the one that was just typed."""


def next_after(command: str, hint: str) -> str:
    """Return the hint of an error of ``command`` (``lab.status``): another next command than that one."""
    named = f"invoke {command}"
    if hint == named or hint.startswith((f"{named};", f"{named},")):
        return _INSTEAD.get(command) or hint.partition("; ")[2] or hint
    return hint


class SettingsError(LabError):
    """A setting that is unknown, missing or not allowed."""


class CommandError(LabError):
    """A program ended with another exit status than zero, or not in time."""

    def __init__(
        self,
        argv: Sequence[str],
        returncode: int | None,
        stdout: str = "",
        stderr: str = "",
        *,
        hint: str = "",
        reason: str = "",
    ) -> None:
        """``reason`` says which limit passed where there is no exit status."""
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.reason = reason
        how = (reason or "did not end in time") if returncode is None else f"ended with {returncode}"
        text = f"command {how}: {shlex.join(self.argv)}"
        if tail := (stderr or stdout).strip()[-_OUTPUT_LIMIT:]:
            text += f"\n{tail}"
        super().__init__(text, hint=hint)


class WaitError(LabError):
    """Something did not become ready in time, or cannot become ready any more."""


class VerifyError(LabError):
    """Content whose checksum, signature or shape is not the declared one."""


class RefusedError(LabError):
    """Refused, because going on would lose something or break a promise."""


class LockedError(LabError):
    """Another command holds the lab."""
