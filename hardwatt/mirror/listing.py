"""Artefacts that the mirror holds and lacks, as rows for a person."""

import dataclasses
from typing import Any

from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.mirror.fill import family_key, load, mirror_root
from hardwatt.mirror.plan import is_current, is_made, jobs


@dataclasses.dataclass(frozen=True)
class Row:
    """One artefact."""

    name: str
    kind: str
    version: str
    source: str
    """``built``, ``downloaded``, ``imported``, ``upstream``, or ``missing``."""
    verified: str
    """How its content was verified; for a missing one, the command that brings it."""
    size: int
    """Bytes; 0 where the mirror does not hold it."""
    digest: str


def listing(lab: Lab) -> list[dict[str, Any]]:
    """Return ``rows`` as plain mappings, for a table or for JSON."""
    return [dataclasses.asdict(row) for row in rows(lab)]


def rows(lab: Lab) -> list[Row]:
    """Return every artefact of the lock and every imported one, in the order of the lock."""
    lock, index, root, mode = versions.lock(), load(lab), mirror_root(lab), lab.settings.mirror.mode
    listed: list[Row] = []
    seen: set[tuple[str, str]] = set()
    for job in jobs(lock, versions.machine_arch(), family_key):
        entry = index.find(job.kind, job.full)
        seen.add((job.kind, job.full))
        if entry and (not is_made(job, lock, mode) or is_current(job, entry, root, mode)):
            listed.append(
                Row(job.full, job.kind, entry.version, entry.source, entry.verified, entry.size, entry.digest)
            )
        else:
            listed.append(Row(job.full, job.kind, job.version, "missing", "invoke mirror.fill", 0, ""))
    for artefact in index.artefacts:
        if (artefact.kind, artefact.name) not in seen:
            seen.add((artefact.kind, artefact.name))
            listed.append(Row(artefact.name, artefact.kind, artefact.version, artefact.source,
                            artefact.verified, artefact.size, artefact.digest))  # fmt: skip
    for foreign in lock.foreign.values():
        if ("image", foreign.repository) not in seen:
            listed.append(
                Row(foreign.repository, "image", foreign.tag, "missing", "invoke mirror.import ARCHIVE", 0, "")
            )
    return listed
