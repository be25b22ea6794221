"""Who wrote a file last, and may lab.up write it? A person's commits are never overwritten."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Literal

Kind = Literal["write", "delete", "conflict"]


@dataclasses.dataclass(frozen=True)
class Change:
    """Change by lab.up of one file of the repository."""

    path: str
    kind: Kind


def blob(text: str) -> str:
    """Return git's name of a file's content."""
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def changes(
    ours: Mapping[str, str],
    theirs: Mapping[str, str],
    base: Mapping[str, str],
    *,
    generated: str,
) -> list[Change]:
    """Compare what lab.up wants, what the repository holds and what lab.up committed last.

    Each maps a path to a blob's name; a missing path is an absent file. ``generated`` is the
    generated folder: there, any blob that lab.up did not commit is a conflict. Elsewhere a file
    that only the other side changed stays as it is, and one that both changed is a conflict.
    """
    differing = []
    for path in sorted({*ours, *base}):
        strict = path.startswith(f"{generated}/")
        if kind := _decide(ours.get(path), theirs.get(path), base.get(path), strict=strict):
            differing.append(Change(path, kind))
    return differing


def _decide(ours: str | None, theirs: str | None, base: str | None, *, strict: bool) -> Kind | None:
    if ours == theirs:
        return None
    if theirs == base:
        return "write" if ours is not None else "delete"
    if ours == base and not strict:
        return None
    return "conflict"
