"""Handing a mirror on: one folder or tar that another machine can fill its mirror from, offline.

An export holds packages, images, tools and the node's root filesystem, a sum for each file, and no
key: the importing machine signs its package repository with a key of its own.
"""

import dataclasses
import gzip
import os
import platform
import shlex
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.core import files
from hardwatt.core.errors import LabError, RefusedError, VerifyError
from hardwatt.core.progress import step
from hardwatt.core.untrusted import files_in
from hardwatt.core.untrusted_packed import Packed
from hardwatt.core.untrusted_tar import members
from hardwatt.machines import rootfs
from hardwatt.mirror import distro, oci
from hardwatt.mirror.fill import disk, held, load, mirror_root
from hardwatt.mirror.imports import META, SUMS, import_, read_sums
from hardwatt.mirror.index import Artefact, Index
from hardwatt.mirror.oci import EPOCH

__all__ = ["SUMS", "Export", "export", "import_"]


@dataclasses.dataclass(frozen=True)
class Export:
    """A written export: its path, size and digest."""

    path: Path
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the file of sums, hexadecimal: it covers every file, and an import refuses all others."""

    def __str__(self) -> str:
        return f"{self.path}: {self.size} bytes; its sum, for mirror.import --sha256: {self.digest}"


def export(lab: Lab, target: Path) -> Export:
    """Write the lab's mirror to the folder ``target``, or to a ``.tar`` or ``.tar.gz``.

    The same mirror gives the same bytes. Raises ``LabError`` where the mirror is empty or damaged,
    ``RefusedError`` where ``target`` holds something else.
    """
    root = mirror_root(lab)
    with held(root), disk(root):
        index = load(lab)
        if not index.artefacts:
            raise LabError("the mirror is empty", hint="invoke mirror.fill")
        is_tar = target.name.endswith((".tar", ".tar.gz"))
        if os.path.lexists(target) and not _replaceable(target, is_tar=is_tar):
            raise RefusedError(f"{target} holds something else than an export",
                               hint=f"invoke mirror.export {shlex.quote(str(_free(target)))}")  # fmt: skip
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        _remove(part)
        with step(f"mirror: export of {len(index.artefacts)} artefacts to {target.name}", folder=lab.dir):
            folder = root / "tmp" / "export" if is_tar else part
            _collect(lab, index, folder, link=is_tar)
            digest = files.sha256(folder / SUMS)
            if is_tar:
                _pack(folder, part)
            _remove(target)
            part.rename(target)
    size = target.stat().st_size if is_tar else oci.size(target)
    return Export(target, size, digest)


def _replaceable(target: Path, *, is_tar: bool) -> bool:
    """Return True for an empty folder, or an older export and nothing but it."""
    try:
        if target.is_symlink():
            return False
        if target.is_file():
            with Packed(target) as packed:
                return is_tar and next(members(packed, "it")).name == SUMS
        present = files_in(target)
        return not is_tar and set(present) <= {SUMS, *(read_sums((target / SUMS).read_bytes()) if present else {})}
    except (VerifyError, OSError, StopIteration):
        return False


def _free(target: Path) -> Path:
    """Return a name like ``target`` that is free."""
    stem = target.name.removesuffix(".gz").removesuffix(".tar")
    names = (target.with_name(f"{stem}-{n}{target.name.removeprefix(stem)}") for n in range(2, 1000))
    return next(name for name in names if not os.path.lexists(name))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _collect(lab: Lab, index: Index, folder: Path, *, link: bool) -> None:
    """Make the folder of an export: copies (or links, where it only becomes a tar), then the sums."""
    copy = os.link if link else shutil.copyfile
    artefacts = [a for a in index.artefacts if a.source != "upstream"]
    for artefact in artefacts:
        for source in _files(index.root / artefact.path):
            path = folder / source.relative_to(index.root)
            path.parent.mkdir(parents=True, exist_ok=True)
            copy(source, path)
    codename = distro.release().codename
    archive = rootfs.archive(lab.cache, codename, platform.machine())
    if archive.exists():
        (folder / "rootfs").mkdir()
        copy(archive, folder / "rootfs" / archive.name)
    Index(folder, tuple(artefacts)).write()
    files.write_json(folder / META, {"schema": 1, "arch": versions.machine_arch(), "codename": codename})
    sums = {str(path.relative_to(folder)): files.sha256(path) for path in _files(folder)}
    _require_whole(index.root, artefacts, sums)
    files.write_atomic(folder / SUMS, "".join(f"{sums[path]}  {path}\n" for path in sums))


def _require_whole(root: Path, artefacts: Sequence[Artefact], sums: Mapping[str, str]) -> None:
    """Refuse to hand on an artefact that is not what the mirror's index names."""
    for artefact in artefacts:
        blobs = {path: sum_ for path, sum_ in sums.items() if path.startswith(f"{artefact.path}/blobs/sha256/")}
        whole = all(path.endswith(f"/{sum_}") for path, sum_ in blobs.items()) and bool(blobs)
        if not (whole if artefact.kind == "image" else f"sha256:{sums.get(artefact.path, '')}" == artefact.digest):
            raise VerifyError(f"the mirror's {artefact.kind} {artefact.name} is damaged: {artefact.path}",
                              hint=f"rm -r {shlex.quote(str(root / artefact.path))}, then invoke mirror.fill",
                              )  # fmt: skip


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from sorted(file for file in path.rglob("*") if file.is_file())


def _pack(folder: Path, target: Path) -> None:
    """Write a tar of ``folder`` whose bytes depend on the files alone."""
    with target.open("wb") as raw:
        packed = gzip.GzipFile("", "wb", 6, raw, mtime=0) if target.name.endswith(".gz.part") else None
        with tarfile.open(fileobj=packed or raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for path in _files(folder):
                info = tarfile.TarInfo(str(path.relative_to(folder)))
                info.size, info.mtime, info.mode = path.stat().st_size, EPOCH, 0o755 if "tools" in path.parts else 0o644
                with path.open("rb") as content:
                    tar.addfile(info, content)
        if packed:
            packed.close()
