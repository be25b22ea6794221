"""Filling the mirror: whatever of the lock is missing is downloaded or built, packaged and recorded.

Each artefact is recorded in ``index.json`` the moment it is whole, so a kill at any time costs at
most the one that was being made.
"""

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from hardwatt import files, versions
from hardwatt.errors import LabError
from hardwatt.lab import Lab
from hardwatt.mirror import apt, debs, distro, gobuild, gofamily, images, oci, registry
from hardwatt.mirror.download import Upstream
from hardwatt.mirror.index import Artefact, Index
from hardwatt.mirror.supply import Supply
from hardwatt.progress import say, step
from hardwatt.versions import Lock

_ARTEFACT_BYTES = 250_000_000
"""What one artefact takes at most: its file or layout, and the registry's copy."""
_BUILD_BYTES = 4_000_000_000
"""What Go's caches take while families are built."""


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


def mirror_root(lab: Lab) -> Path:
    """Return the folder of the mirror, shared by the labs of one cache."""
    return lab.cache / "mirror"


def jobs(lock: Lock, arch: str, family_key: Callable[[str], str]) -> list[Job]:
    """Return everything that the lock asks for, in the order in which it is made.

    What a node needs comes first, and of it the tools that the images are pushed with.
    ``family_key`` tells what a family is built from.
    """

    def key(source: str, *parts: str) -> str:
        entry = lock.sources[source]
        family = family_key(entry.family) if entry.family else ""
        return hashlib.sha256("\n".join([repr(entry), arch, family, *parts]).encode()).hexdigest()

    found = [
        Job("tool", t.name, t.group, t.source, t.name, lock.sources[t.source].version, key(t.source))
        for t in lock.tools.values()
    ]
    for package in lock.packages.values():
        version = lock.package_version(package.name)
        made_of = key(package.source, version, debs.key(package.name))
        found.append(Job("package", package.name, package.group, package.source, package.name, version, made_of))
    for image in lock.images.values():
        tag = lock.image_tag(image.name)
        made_of = key(image.source, image.repository, tag, images.key(image.name))
        found.append(Job("image", image.name, image.group, image.source, image.repository, tag, made_of))
    return sorted(found, key=lambda job: versions.GROUPS.index(job.group))


@dataclasses.dataclass
class Filler:
    """One run of ``fill``; its parts are arguments, so that tests can give small ones."""

    root: Path
    arch: str
    lock: Lock
    supply: Supply
    log: Path
    lab: Lab | None = None

    def run(self, wanted: Sequence[Job]) -> Index:
        """Make what is missing of ``wanted`` and publish it. Raises ``LabError``."""
        index = Index.read(self.root)
        for job in wanted:
            with step(f"mirror: {job.kind} {job.full} {job.version}", lab=self.lab):
                index = index.with_artefact(self._make(job))
                index.write()
        self.publish(index)
        return index

    def publish(self, index: Index) -> None:
        """Bring the apt repository and the registry to what the index says."""
        packages = [self.root / a.path for a in index.artefacts if a.kind == "package"]
        if packages and apt.publish(self.root, packages, self.arch):
            say("the package repository is signed anew")
        pending = [a for a in index.artefacts if a.kind == "image" and not registry.holds(self.root, a)]
        if pending:
            with step(f"mirror: {len(pending)} images into the registry", lab=self.lab):
                registry.push(self.root, pending, crane=index.tool("crane"),
                              registry=index.tool("registry"), log=self.log)  # fmt: skip

    def _make(self, job: Job) -> Artefact:
        given = self.supply.give(self.lock.sources[job.source])
        make = {"tool": self._tool, "package": self._package, "image": self._image}[job.kind]
        path, digest, size = make(job, given.binaries)
        return Artefact(
            name=job.full, kind=job.kind, group=job.group, version=job.version, source=given.source,
            verified=given.verified, digest=digest, path=str(path.relative_to(self.root)), key=job.key, size=size,
        )  # fmt: skip

    def _tool(self, job: Job, binaries: Mapping[str, Path]) -> tuple[Path, str, int]:
        target = self.root / "tools" / job.name
        part = self.root / "tmp" / job.name
        shutil.copyfile(binaries[job.name], part)
        part.chmod(0o755)
        return _placed(part, target)

    def _package(self, job: Job, binaries: Mapping[str, Path]) -> tuple[Path, str, int]:
        name = debs.file_name(job.name, job.version, self.arch)
        part = self.root / "tmp" / name
        debs.make(job.name, job.version, self.arch, binaries, part)
        for old in (self.root / "debs").glob(f"{job.name}_*.deb"):
            old.unlink()
        return _placed(part, self.root / "debs" / name)

    def _image(self, job: Job, binaries: Mapping[str, Path]) -> tuple[Path, str, int]:
        folder = self.root / "images" / job.full / job.version
        digest = images.make(job.name, binaries, folder, arch=self.arch,
                             reference=f"{job.full}:{job.version}", work=self.root / "tmp", log=self.log)  # fmt: skip
        for old in folder.parent.iterdir():
            if old != folder:
                shutil.rmtree(old)
        return folder, digest, oci.size(folder)


def _placed(part: Path, target: Path) -> tuple[Path, str, int]:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = files.sha256(part), part.stat().st_size
    part.replace(target)
    files.sync_folder(target.parent)
    return target, f"sha256:{digest}", size


def is_current(job: Job, artefact: Artefact | None, root: Path, mode: str = "auto") -> bool:
    """Return whether the mirror holds what ``job`` asks for.

    What was imported counts by its version: it was made elsewhere, and need not be made again here.
    """
    if artefact is None or artefact.version != job.version:
        return False
    path = root / artefact.path
    if not ((path / "index.json").is_file() if job.kind == "image" else path.is_file()):
        return False
    if artefact.source == "imported":
        return True
    return artefact.key == job.key and not (mode == "build" and artefact.source == "downloaded")


def fill(lab: Lab, *, mode: str = "", only: str = "", lock: Lock | None = None) -> Index:
    """Make whatever the lock asks for and the mirror lacks; return the mirror's index.

    ``mode`` is the setting's unless given: ``auto``, ``build``, or ``upstream`` (then only host
    tools and this toolkit's own images are made). ``only`` is ``node`` or ``gitops``.
    Raises ``LabError``; run again, it goes on where it was.
    """
    mode, lock = mode or lab.settings.mirror.mode, lock or versions.lock()
    if only and only not in versions.GROUPS:
        raise LabError(f"there is no group {only!r} of artefacts", hint=f"one of {', '.join(versions.GROUPS)}")
    root, log, arch = mirror_root(lab), lab.logs / "mirror.log", versions.machine_arch()
    with held(root), _disk(root):
        wanted = [j for j in jobs(lock, arch, _family_key) if only in ("", j.group) and _is_made(j, lock, mode)]
        index = Index.read(root)
        missing = [job for job in wanted if not is_current(job, index.find(job.kind, job.full), root, mode)]
        if missing:
            _require_space(root, missing)
            say(_outlook(lab, lock, missing, len(wanted)))
        supply = Supply(
            mode="build" if mode == "build" else "auto", arch=arch, downloads=lab.cache / "downloads",
            work=root / "tmp", upstream=Upstream(lab.settings.mirror.upstream),
            build=lambda family: gobuild.build(family, cache=lab.cache, log=log),
        )  # fmt: skip
        Filler(root, arch, lock, supply, log, lab).run(missing)
    return load(lab, mode=mode, lock=lock)


def load(lab: Lab, *, mode: str = "", lock: Lock | None = None) -> Index:
    """Return the index of the lab's mirror, as its mode sees it (empty before ``fill``)."""
    index = Index.read(mirror_root(lab))
    if (mode or lab.settings.mirror.mode) == "upstream":
        return _upstream(index, lock or versions.lock())
    return index


def missing(lab: Lab, *, only: str = "") -> list[str]:
    """Return the names of what ``fill`` would make, without making it."""
    lock, index, root, mode = versions.lock(), load(lab), mirror_root(lab), lab.settings.mirror.mode
    found = jobs(lock, versions.machine_arch(), _family_key)
    return [
        f"{job.kind} {job.full} {job.version}"
        for job in found
        if only in ("", job.group)
        and _is_made(job, lock, mode)
        and not is_current(job, index.find(job.kind, job.full), root, mode)
    ]


def _family_key(name: str) -> str:
    return gofamily.key(gofamily.family(name), gofamily.architecture())


def _is_made(job: Job, lock: Lock, mode: str) -> bool:
    """Return whether a mode makes the artefact: with ``upstream``, nodes take upstream's themselves."""
    if mode != "upstream" or job.kind == "tool":
        return True
    return job.kind == "image" and not lock.images[job.name].upstream


def _upstream(index: Index, lock: Lock) -> Index:
    """Return the index of a lab without a mirror: upstream's names, which the node fetches itself."""
    for package in lock.packages.values():
        index = index.with_artefact(Artefact(
            package.name, "package", package.group, package.upstream, "upstream",
            "by the node: the signature of upstream's repository", "", "", "",
        ))  # fmt: skip
    for image in lock.images.values():
        if image.upstream:
            digest = "" if image.digest == versions.UNRESOLVED else image.digest
            verified = "by the node: the lock's digest" if digest else "by the node: the registry's certificate only"
            index = index.with_artefact(Artefact(
                image.repository, "image", image.group, image.upstream, "upstream", verified, digest, "", "",
            ))  # fmt: skip
    return index


def _outlook(lab: Lab, lock: Lock, missing: Sequence[Job], wanted: int) -> str:
    """Return one line: how much is missing, and how long its builds may take."""
    names = {lock.sources[job.source].family for job in missing} - {""}
    families = [gofamily.family(name) for name in names]
    seconds = sum(one.expected_seconds for one in families if gobuild.built(one, lab.cache) is None)
    builds = f", at most {seconds // 60 + 1} min of builds on two cores" if seconds else ""
    return f"{len(missing)} of {wanted} artefacts are missing{builds}"


def _require_space(root: Path, missing: Sequence[Job]) -> None:
    needed = len(missing) * _ARTEFACT_BYTES + _BUILD_BYTES
    free = shutil.disk_usage(root).free
    if free < needed:
        raise LabError(
            f"{free / 1e9:.1f} GB are free at {root}, but filling the mirror may take {needed / 1e9:.1f} GB",
            hint="free some space, or set mirror.cache in lab.toml to a larger disk",
        )


@contextlib.contextmanager
def held(root: Path) -> Iterator[None]:
    """Hold the mirror for one command and empty its folder for temporary files.

    Labs share a mirror: the second one waits. The lock ends with the process, however that ends.
    """
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another command works on the mirror: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        distro.clean(root / "tmp")
        yield


@contextlib.contextmanager
def _disk(root: Path) -> Iterator[None]:
    """Turn a full disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise LabError(
            f"the disk of {root} is full", hint="free some space, then run the same command again"
        ) from error
