"""Facts of our own: each is one shell command and a pure parser of what it prints.

Every command starts with ``: facts.<name>``, a no-op that names it in logs and for the doubles of
the tests.
"""

from collections.abc import Iterable


def pairs(output: Iterable[str]) -> dict[str, str]:
    """Return the ``key=value`` lines of an output; a line without ``=`` is passed over."""
    values: dict[str, str] = {}
    for line in output:
        key, equals, value = line.partition("=")
        if equals:
            values[key.strip()] = value.strip()
    return values


def number(text: str) -> int:
    """Return a count that the shell printed; nothing printed is 0."""
    return int(text) if text else 0
