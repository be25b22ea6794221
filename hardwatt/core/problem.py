"""A problem of a host or a node: one class and one vocabulary of severities, from every check to the terminal."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args

from hardwatt.core.errors import LabError, VerifyError

Severity = Literal["error", "warning", "note"]
"""``error``: lab.up stops before it changes anything; ``warning``: lab.up continues; ``note``: lab.up handles it, or
it is for information. ``deploys/problem.py``, which imports nothing of this package, has the same."""
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
"""The worst first."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """One problem of a host or a node, with its remedy."""

    severity: Severity
    name: str
    what: str
    remedy: str

    @classmethod
    def from_dict(cls, data: Any) -> "Problem":
        """Return the problem that a check wrote as JSON.

        Raises ``VerifyError`` for an unknown or missing key, a value that is not text, and an unknown severity.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(data, dict) or set(data) != set(names):
            raise VerifyError(f"a problem has the keys {', '.join(names)}, and this is {data!r}")
        if wrong := [name for name in names if not isinstance(data[name], str)]:
            raise VerifyError(f"{', '.join(wrong)} of a problem is not text: {data!r}")
        if data["severity"] not in SEVERITIES:
            raise VerifyError(f"unknown severity {data['severity']!r}: it is one of {', '.join(SEVERITIES)}")
        return cls(**data)

    def to_dict(self) -> dict[str, str]:
        return dataclasses.asdict(self)


def error(name: str, what: str, remedy: str) -> Problem:
    """Return a problem that keeps lab.up from changing anything."""
    return Problem("error", name, what, remedy)


def combined(problems: Sequence[Problem], lead: str = "") -> LabError:
    """Return one error with every problem, and with each remedy once."""
    return LabError(
        lead + "; ".join(problem.what for problem in problems),
        hint="; ".join(dict.fromkeys(problem.remedy for problem in problems)),
    )
