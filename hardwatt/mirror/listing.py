"""What the mirror holds and what it lacks, as rows for a person."""

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
    found_rows: list[Row] = []
    seen: set[tuple[str, str]] = set()
    for job in jobs(lock, versions.machine_arch(), family_key):
        found = index.find(job.kind, job.full)
        seen.add((job.kind, job.full))
        if found and (not is_made(job, lock, mode) or is_current(job, found, root, mode)):
            found_rows.append(
                Row(job.full, job.kind, found.version, found.source, found.verified, found.size, found.digest)
            )
        else:
            found_rows.append(Row(job.full, job.kind, job.version, "missing", "inv mirror.fill", 0, ""))
    for artefact in index.artefacts:
        if (artefact.kind, artefact.name) not in seen:
            seen.add((artefact.kind, artefact.name))
            found_rows.append(Row(artefact.name, artefact.kind, artefact.version, artefact.source,
                            artefact.verified, artefact.size, artefact.digest))  # fmt: skip
    for foreign in lock.foreign.values():
        if ("image", foreign.repository) not in seen:
            found_rows.append(
                Row(foreign.repository, "image", foreign.tag, "missing", "inv mirror.import ARCHIVE", 0, "")
            )
    return found_rows
