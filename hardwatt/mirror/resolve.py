"""Resolving the lock on a machine that reaches upstream: published sums, with where they were read.

The file is edited, not written anew, so that its comments stay; it is replaced only when the
result is a lock that can be read.
"""

import datetime
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from hardwatt.config import versions
from hardwatt.config.versions import UNRESOLVED, Lock, Source
from hardwatt.core import files
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.progress import say
from hardwatt.mirror.download import DownloadError, Upstream, read

_ARCHES = ("amd64", "arm64")
_SUM = re.compile(r"[0-9a-f]{64}")


def resolve(
    path: Path, *, upstream: Upstream, digest: Callable[[str], str] | None = None, today: str = "",
) -> list[str]:  # fmt: skip
    """Put upstream's published sums into the lock at ``path`` where it says "unresolved".

    ``digest`` asks a registry for the digest of a reference (crane); without it images stay as they
    are. Returns the names that were resolved. What cannot be read stays unresolved, with a line
    that says why. Raises ``LabError`` where upstream cannot be reached at all.
    """
    text = path.read_text()
    lock = versions.parse(tomllib.loads(text))
    day = today or datetime.datetime.now(datetime.UTC).date().isoformat()
    pending = [source for source in lock.sources.values() if source.sums and not source.sha256]
    if pending and (why := upstream.reachable(_sums_address(pending[0], "amd64"))):
        raise LabError(f"upstream is not reachable ({why})", hint="invoke mirror.lock on a connected machine")
    resolved = []
    for source in pending:
        try:
            sums = {arch: published(source, arch, upstream) for arch in _ARCHES}
        except (DownloadError, VerifyError) as error:
            say(f"{source.name} stays unresolved: {error.message}")
            continue
        text = _with_sums(text, source, sums, _place(_sums_address(source, "amd64"), upstream, day))
        resolved.append(source.name)
    if digest:
        text, names = _with_digests(text, lock, digest)
        resolved += names
    versions.parse(tomllib.loads(text))
    files.write_atomic(path, text)
    return resolved


def _place(address: str, upstream: Upstream, day: str) -> str:
    """Return where and how sums were read: what came over HTTP, anybody on the way could have written."""
    asked = urlsplit(upstream.address(address))
    via = f" from {asked.netloc}" if upstream.base else ""
    return f"{address}, read on {day}{via} over {asked.scheme.upper()}"


def _sums_address(source: Source, arch: str) -> str:
    return source.fill(source.sums.replace("{url}", source.url), arch)


def published(source: Source, arch: str, upstream: Upstream) -> str:
    """Return the SHA-256 that upstream publishes for a source's file.

    Raises ``DownloadError``, or ``VerifyError`` where the list does not have the file.
    """
    address, name = _sums_address(source, arch), source.address(arch).rpartition("/")[2]
    text = read(address, upstream=upstream).decode(errors="replace")
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if len(rows) == 1 and len(rows[0]) == 1 and _SUM.fullmatch(rows[0][0]):
        return rows[0][0]
    for row in rows:
        if len(row) == 2 and row[1].lstrip("*").rpartition("/")[2] == name and _SUM.fullmatch(row[0]):
            return row[0]
    raise VerifyError(f"{address} has no SHA-256 of {name}", hint="look at upstream's release page")


def _with_sums(text: str, source: Source, sums: dict[str, str], place: str) -> str:
    table = ", ".join(f'{arch} = "{value}"' for arch, value in sums.items())
    return _replace(
        text, f"source.{source.name}", f'sha256 = "{UNRESOLVED}"', f'place = "{place}"\nsha256 = {{ {table} }}'
    )


def _with_digests(text: str, lock: Lock, digest: Callable[[str], str]) -> tuple[str, list[str]]:
    """Return the text with the digests that the registries name."""
    wanted = [
        (f"image.{i.name}", f"{i.repository}:{i.upstream}") for i in lock.images.values()
        if i.upstream and i.digest == UNRESOLVED
    ]  # fmt: skip
    wanted += [
        (f"foreign.{f.name}", f"{f.repository}:{f.tag}") for f in lock.foreign.values()
        if f.digest == UNRESOLVED and f.tag != UNRESOLVED
    ]  # fmt: skip
    names = []
    for table, reference in wanted:
        try:
            resolved = digest(reference)
        except LabError as error:
            say(f"{reference} stays unresolved: {error.message}")
            continue
        text = _replace(text, table, f'digest = "{UNRESOLVED}"', f'digest = "{resolved}"   # of {reference}')
        names.append(reference)
    return text, names


def _replace(text: str, table: str, old: str, new: str) -> str:
    """Return ``text`` with one line of one table replaced."""
    start = text.index(f"[{table}]\n")
    at = text.index(old, start)
    following = text.find("\n[", start + 1)
    if following != -1 and at > following:
        raise VerifyError(f"versions.lock.toml: {table}: no line {old!r}", hint="git diff versions.lock.toml")
    return f"{text[:at]}{new}{text[at + len(old) :]}"
