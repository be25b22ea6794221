"""Filling the mirror: whatever of the lock is missing is downloaded or built, packaged and recorded.

Each artefact is recorded in ``index.json`` the moment it is whole, so a kill at any time costs at
most the one that was being made.
"""

import contextlib
import dataclasses
import errno
import fcntl
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.config.versions import Lock
from hardwatt.core import files
from hardwatt.core.errors import LabError
from hardwatt.core.nearest import corrected, did_you_mean
from hardwatt.core.process import run
from hardwatt.core.progress import say, step
from hardwatt.mirror import apt, commit, debs, distro, images, oci, registry
from hardwatt.mirror.binary_source import BinarySource
from hardwatt.mirror.build import go_build, go_family
from hardwatt.mirror.download import Upstream
from hardwatt.mirror.index import Artefact, Index
from hardwatt.mirror.plan import Job, is_asked, is_current, is_made, jobs, upstream_index
from hardwatt.mirror.resolve import resolve

_ARTEFACT_BYTES = 250_000_000
"""What one artefact takes at most: its file or layout, and the registry's copy."""
_BUILD_BYTES = 4_000_000_000
"""What Go's caches take while families are built."""


def mirror_root(lab: Lab) -> Path:
    """Return the folder of the mirror, shared by the labs of one cache."""
    return lab.cache / "mirror"


@dataclasses.dataclass(frozen=True)
class Publisher:
    """Brings what nodes read to what the index says."""

    root: Path
    arch: str
    log: Path
    lab: Lab | None = None

    def publish(self, index: Index) -> None:
        """Bring the apt repository and the registry to what the index says."""
        packages = [self.root / a.path for a in index.artefacts if a.kind == "package"]
        if packages and apt.publish(self.root, packages, self.arch):
            say("the package repository is signed anew")
        held_images = [a for a in index.artefacts if a.kind == "image"]
        if pending := [image for image in held_images if not registry.holds(self.root, image)]:
            with step(f"mirror: {len(pending)} images into the registry", folder=self.lab.dir if self.lab else None):
                registry.push(self.root, pending, crane=index.tool("crane"),
                              registry=index.tool("registry"), log=self.log)  # fmt: skip
        for image in held_images:
            registry.share(self.root, self.root / image.path)


@dataclasses.dataclass(frozen=True)
class Filler(Publisher):
    """One run of ``fill``; its parts are arguments, so that tests can give small ones."""

    lock: Lock = dataclasses.field(kw_only=True)
    supply: BinarySource = dataclasses.field(kw_only=True)

    def run(self, wanted: Sequence[Job]) -> Index:
        """Make what is missing of ``wanted`` and publish it. Raises ``LabError``."""
        index = Index.read(self.root)
        for job in wanted:
            with step(f"mirror: {job.kind} {job.full} {job.version}", folder=self.lab.dir if self.lab else None):
                index = index.with_artefact(self._make(job))
                index.write()
        self.publish(index)
        return index

    def _make(self, job: Job) -> Artefact:
        given = self.supply.give(self.lock.sources[job.source])
        make = {"tool": self._tool, "package": self._package, "image": self._image}[job.kind]
        path, digest, size = make(job, given.binaries)
        return Artefact(
            name=job.full, kind=job.kind, group=job.group, version=job.version, source=given.source,
            verified=self._verified(job, given.verified), digest=digest,
            path=str(path.relative_to(self.root)), key=job.key, size=size,
        )  # fmt: skip

    def _verified(self, job: Job, how: str) -> str:
        if job.kind == "image" and images.RECIPES[job.name].packages:
            return f"{how}; distribution packages: the archive's signature"
        return how

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


def fill(lab: Lab, *, mode: str = "", only: str = "", lock: Lock | None = None) -> Index:
    """Make whatever the lock asks for and the mirror lacks; return the mirror's index.

    ``mode`` is the setting's unless given: ``auto``, ``build``, or ``upstream`` (then only host
    tools and this toolkit's own images are made). ``only`` is ``node``, ``gitops`` or ``ci``; what is
    optional (``ci``) is made where it is named, and kept current where it was made before.
    Raises ``LabError``; run again, it goes on where it was.
    """
    mode, lock = mode or lab.settings.mirror.mode, lock or versions.lock()
    if only and only not in versions.GROUPS:
        near = did_you_mean(only, versions.GROUPS, "groups")
        raise LabError(
            f"there is no group {only!r} of artefacts; {near}",
            hint=corrected("invoke mirror.fill --only", only, versions.GROUPS),
        )
    root, log, arch = mirror_root(lab), lab.logs / "mirror.log", versions.machine_arch()
    with held(root), disk(root):
        index = Index.read(root)
        wanted = [j for j in jobs(lock, arch, family_key) if is_asked(j, only, index) and is_made(j, lock, mode)]
        missing = [job for job in wanted if not is_current(job, index.find(job.kind, job.full), root, mode)]
        if missing:
            _require_space(root, missing)
            say(_outlook(lab, lock, missing, len(wanted)))
        supply = BinarySource(
            mode="build" if mode == "build" else "auto", arch=arch, downloads=lab.cache / "downloads",
            work=root / "tmp", upstream=Upstream(lab.settings.mirror.upstream),
            build=lambda family: go_build.build(family, cache=lab.cache, log=log),
        )  # fmt: skip
        Filler(root, arch, log, lab, lock=lock, supply=supply).run(missing)
    return load(lab, mode=mode, lock=lock)


def resolve_lock(lab: Lab) -> list[str]:
    """Put upstream's published sums and digests into the checkout's lock; return what was resolved.

    Needs a machine that reaches upstream. Raises ``LabError`` on another.
    """
    crane = Index.read(mirror_root(lab)).tool("crane")
    return resolve(
        versions.PATH,
        upstream=Upstream(lab.settings.mirror.upstream),
        digest=lambda reference: run([crane, "digest", reference], timeout=60).stdout.strip(),
    )


def publisher(lab: Lab) -> Publisher:
    """Return what publishes the lab's mirror."""
    return Publisher(mirror_root(lab), versions.machine_arch(), lab.logs / "mirror.log", lab)


def load(lab: Lab, *, mode: str = "", lock: Lock | None = None) -> Index:
    """Return the index of the lab's mirror, as its mode sees it (empty before ``fill``)."""
    index = Index.read(mirror_root(lab))
    if (mode or lab.settings.mirror.mode) == "upstream":
        return upstream_index(index, lock or versions.lock())
    return index


def missing(lab: Lab, *, only: str = "") -> list[str]:
    """Return the names of what ``fill`` would make, without making it."""
    lock, index, root, mode = versions.lock(), load(lab), mirror_root(lab), lab.settings.mirror.mode
    return [
        f"{job.kind} {job.full} {job.version}"
        for job in jobs(lock, versions.machine_arch(), family_key)
        if is_asked(job, only, index)
        and is_made(job, lock, mode)
        and not is_current(job, index.find(job.kind, job.full), root, mode)
    ]


def family_key(name: str) -> str:
    """Return the key of all that a family of Go modules is built from."""
    return go_family.key(go_family.read_family(name), go_family.architecture())


def _outlook(lab: Lab, lock: Lock, missing: Sequence[Job], wanted: int) -> str:
    """Return one line: how much is missing, and how long its builds may take."""
    names = {lock.sources[job.source].family for job in missing} - {""}
    families = [go_family.read_family(name) for name in names]
    seconds = sum(family.expected_seconds for family in families if go_build.built(family, lab.cache) is None)
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
    """Hold the mirror for one command, empty its folder for temporary files, finish a killed import.

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
        commit.finish(root)
        yield


@contextlib.contextmanager
def disk(root: Path) -> Iterator[None]:
    """Turn a full disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise LabError(
            f"the disk of {root} is full", hint="free some space, then run the same command again"
        ) from error
