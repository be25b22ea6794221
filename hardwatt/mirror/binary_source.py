"""Binaries: upstream's own where the lock can verify them, else built here."""

import dataclasses
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

from hardwatt.config.versions import Source
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.progress import say
from hardwatt.mirror.download import DownloadError, Upstream, fetch

Build = Callable[[str], Mapping[str, Path]]
"""Family name to its binaries, built where that was not done before."""


@dataclasses.dataclass(frozen=True)
class Supplied:
    """The binaries of one source."""

    binaries: Mapping[str, Path]
    source: str
    """``built`` or ``downloaded``."""
    verified: str


class BinarySource:
    """Gives each source's binaries, once, by the rules of a mode."""

    def __init__(self, *, mode: str, arch: str, downloads: Path, work: Path, upstream: Upstream, build: Build) -> None:
        """``mode`` is ``auto`` (verified download, else a build) or ``build`` (never a download).

        ``downloads`` is kept between runs, ``work`` is emptied before each.
        """
        self._mode = mode
        self._arch = arch
        self._downloads = downloads
        self._work = work
        self._upstream = upstream
        self._build = build
        self._given: dict[str, Supplied] = {}
        self._reachable: bool | None = None

    def give(self, source: Source) -> Supplied:
        """Return the binaries of ``source``. Raises ``LabError`` where they cannot be had."""
        if source.name not in self._given:
            self._given[source.name] = self._download(source) or self._built(source)
        return self._given[source.name]

    def _built(self, source: Source) -> Supplied:
        if not source.family:
            raise LabError(f"{source.name} {source.version} cannot be built, only downloaded",
                           hint="connect to the network, or invoke mirror.import ARCHIVE")  # fmt: skip
        made = self._build(source.family)
        binaries = {name: made[name] for name in source.binaries}
        how = "this repository's own source" if source.kind == "own" else "go.sum of the family pins every module"
        return Supplied(binaries, "built", how)

    def _download(self, source: Source) -> Supplied | None:
        """Return verified binaries, or None with a line that says why they are built."""
        if self._mode == "build" or not source.verifiable(self._arch) or not self._reached(source):
            return None
        url, sha256 = source.address(self._arch), source.sha256[self._arch]
        target = self._downloads / f"{sha256[:16]}-{url.rpartition('/')[2]}"
        try:
            fetch(url, target, sha256, upstream=self._upstream)
            binaries = self._unpack(source, target)
        except (VerifyError, DownloadError) as error:
            if not source.family:
                raise
            say(f"{error.message}; {source.name} is built here instead")
            return None
        return Supplied(binaries, "downloaded", f"SHA-256 {sha256[:12]}… of {source.place}")

    def _reached(self, source: Source) -> bool:
        """Ask once whether upstream answers; its absence is said once and not tried again."""
        if self._reachable is None:
            why = self._upstream.reachable(source.address(self._arch))
            self._reachable = not why
            if why:
                say(f"upstream is not reachable ({why}): everything is built here")
        return self._reachable

    def _unpack(self, source: Source, file: Path) -> dict[str, Path]:
        members = source.members(self._arch)
        if source.kind == "file":
            file.chmod(0o755)
            return dict.fromkeys(members, file)
        folder = self._work / source.name
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(file) as archive:
            return {name: _extract(archive, path, folder / name) for name, path in members.items()}


def _extract(archive: tarfile.TarFile, member: str, target: Path) -> Path:
    try:
        content = archive.extractfile(member)
    except KeyError:
        content = None
    if content is None:
        raise VerifyError(f"{archive.name!s} holds no file {member}", hint="mend versions.lock.toml")
    with content, target.open("wb") as file:
        while piece := content.read(1 << 20):
            file.write(piece)
    target.chmod(0o755)
    return target
