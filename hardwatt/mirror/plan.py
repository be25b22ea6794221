"""Artefacts that a mirror has to hold by the lock, and which of them it holds already."""

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path

from hardwatt.config import versions
from hardwatt.config.versions import Lock
from hardwatt.core import files
from hardwatt.mirror import debs, images, oci
from hardwatt.mirror.index import Artefact, Index


@dataclasses.dataclass(frozen=True)
class Job:
    """One artefact that the lock asks for."""

    kind: str
    name: str
    """Its name in the lock."""
    group: str
    source: str
    full: str
    """Its name in the index (an image's repository)."""
    version: str
    key: str


def jobs(lock: Lock, arch: str, family_key: Callable[[str], str]) -> list[Job]:
    """Return everything that the lock asks for, in the order in which it is made.

    What a node needs comes first, and of it the tools that the images are pushed with.
    ``family_key`` tells what a family is built from.
    """

    def key(source: str, *parts: str) -> str:
        entry = lock.sources[source]
        family = family_key(entry.family) if entry.family else ""
        made_of = [entry.version, entry.url, repr(sorted(entry.binaries.items())), repr(sorted(entry.sha256.items()))]
        return hashlib.sha256("\n".join([*made_of, arch, family, *parts]).encode()).hexdigest()

    wanted = [
        Job("tool", t.name, t.group, t.source, t.name, lock.sources[t.source].version, key(t.source))
        for t in lock.tools.values()
    ]
    for package in lock.packages.values():
        version = lock.package_version(package.name)
        made_of = key(package.source, version, debs.key(package.name))
        wanted.append(Job("package", package.name, package.group, package.source, package.name, version, made_of))
    for image in lock.images.values():
        tag = lock.image_tag(image.name)
        made_of = key(image.source, image.repository, tag, images.key(image.name))
        wanted.append(Job("image", image.name, image.group, image.source, image.repository, tag, made_of))
    return sorted(wanted, key=lambda job: versions.GROUPS.index(job.group))


def is_asked(job: Job, only: str, index: Index) -> bool:
    """Return whether ``job`` is meant by ``only`` (a group, or all of them: then without what is optional).

    What is optional and was made once stays part of the mirror.
    """
    if only:
        return job.group == only
    return job.group not in versions.OPTIONAL or index.find(job.kind, job.full) is not None


def is_current(job: Job, artefact: Artefact | None, root: Path, mode: str = "auto") -> bool:
    """Return whether the mirror holds what ``job`` asks for.

    What was imported counts by its version: it was made elsewhere, and need not be made again here.
    """
    if artefact is None or artefact.version != job.version:
        return False
    path = root / artefact.path
    if not ((path / "index.json").is_file() if job.kind == "image" else path.is_file()):
        return False
    size = oci.size(path) if job.kind == "image" else path.stat().st_size
    # an index of an older version has no sizes: then the content is looked at
    if size != artefact.size if artefact.size else not (size and _is_whole(job, artefact, path)):
        return False
    if artefact.source == "imported":
        return True
    return artefact.key == job.key and not (mode == "build" and artefact.source == "downloaded")


def _is_whole(job: Job, artefact: Artefact, path: Path) -> bool:
    """Return whether a file has the recorded digest; an image's layers are checked where it is pushed."""
    return job.kind == "image" or not artefact.digest or f"sha256:{files.sha256(path)}" == artefact.digest


def is_made(job: Job, lock: Lock, mode: str) -> bool:
    """Return whether a mode makes the artefact: with ``upstream``, nodes take upstream's themselves."""
    if mode != "upstream" or job.kind == "tool":
        return True
    return job.kind == "image" and not lock.images[job.name].upstream


def upstream_index(index: Index, lock: Lock) -> Index:
    """Return the index of a lab without a mirror: upstream's names, which the node fetches itself."""
    for package in lock.packages.values():
        index = index.with_artefact(Artefact(
            package.name, "package", package.group, package.upstream, "upstream",
            "by the node: the signature of upstream's repository", "", "", "",
        ))  # fmt: skip
    for image in lock.images.values():
        if image.upstream:
            index = index.with_artefact(_pulled(image.repository, image.group, image.upstream, image.digest))
    for foreign in lock.foreign.values():
        # The node pulls what this mirror could neither download nor build.
        if foreign.tag != versions.UNRESOLVED:
            index = index.with_artefact(_pulled(foreign.repository, "extra", foreign.tag, foreign.digest))
    return index


def _pulled(repository: str, group: str, tag: str, locked: str) -> Artefact:
    """Return an image that the node itself pulls from upstream's registry."""
    digest = "" if locked == versions.UNRESOLVED else locked
    verified = "by the node: the lock's digest" if digest else "by the node: the registry's certificate only"
    return Artefact(repository, "image", group, tag, "upstream", verified, digest, "", "")
