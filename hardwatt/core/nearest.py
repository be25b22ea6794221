"""The right name for a mistyped one."""

import difflib
from collections.abc import Iterable

_CUTOFF = 0.5


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that is most like ``name``; empty where none is like it.

    A known name with dots is compared by its last part too: whoever types ``status`` means ``lab.status``.
    The dashes of an option are no likeness.
    """
    wanted = name.lower().lstrip("-")
    best, likeness = "", 0.0
    for candidate in known:
        parts = (candidate,) if "." in wanted else (candidate, candidate.rpartition(".")[2])
        ratio = max(difflib.SequenceMatcher(None, wanted, part.lower().lstrip("-")).ratio() for part in parts)
        if ratio > likeness:
            best, likeness = candidate, ratio
    return best if likeness >= _CUTOFF else ""


def did_you_mean(name: str, known: Iterable[str], called: str = "known") -> str:
    """Return the question after the nearest name, else the list of those that are known, with what they are called."""
    names = list(known)
    if near := nearest(name, names):
        return f"did you mean {near!r}?"
    return f"{called}: {', '.join(names) or 'none'}"


def corrected(line: str, name: str, known: Iterable[str]) -> str:
    """Return a command line with the known name that is most like ``name`` as its last word.

    Without such a name: the help of the line's command.
    """
    if near := nearest(name, known):
        return f"{line} {near}"
    return f"{' '.join(line.split()[:2])} --help"
