"""Handing a mirror on: one folder or tar that another machine can fill its mirror from, offline.

An export holds packages, images, tools and the node's root filesystem, a sum for each file, and no
key: the importing machine signs its package repository with a key of its own.
"""

import dataclasses
import gzip
import os
import platform
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardwatt import files, versions
from hardwatt.errors import LabError, RefusedError, VerifyError
from hardwatt.lab import Lab
from hardwatt.machines import rootfs
from hardwatt.mirror import distro, foreign, oci
from hardwatt.mirror.filler import held, load, mirror_root, publisher
from hardwatt.mirror.index import Artefact, Index
from hardwatt.mirror.oci import EPOCH
from hardwatt.progress import say, step

SUMS = "SHA256SUMS"
_META = "hardwatt-mirror.json"


@dataclasses.dataclass(frozen=True)
class Export:
    """What was written."""

    path: Path
    size: int
    """Bytes."""
    digest: str
    """SHA-256 of the file of sums, hexadecimal: who has it can check all the rest."""

    def __str__(self) -> str:
        return f"{self.path}: {self.size} bytes; sha256 of its {SUMS}: {self.digest}"


def export(lab: Lab, target: Path) -> Export:
    """Write the lab's mirror to the folder ``target``, or to a ``.tar`` or ``.tar.gz``.

    The same mirror gives the same bytes. Raises ``LabError`` where the mirror is empty,
    ``RefusedError`` where ``target`` holds something else.
    """
    root = mirror_root(lab)
    with held(root):
        index = load(lab)
        if not index.artefacts:
            raise LabError("the mirror is empty", hint="inv mirror.fill")
        if target.exists() and not (target.is_file() or (target / SUMS).is_file() or not any(target.iterdir())):
            raise RefusedError(f"{target} holds something else than an export", hint="name a new folder")
        is_tar = target.name.endswith((".tar", ".tar.gz"))
        part = target.with_name(f".{target.name}.part")
        _remove(part)
        with step(f"mirror: export of {len(index.artefacts)} artefacts to {target.name}", lab=lab):
            folder = root / "tmp" / "export" if is_tar else part
            _collect(lab, index, folder, link=is_tar)
            digest = files.sha256(folder / SUMS)
            if is_tar:
                _pack(folder, part)
            _remove(target)
            part.rename(target)
    size = target.stat().st_size if is_tar else oci.size(target)
    return Export(target, size, digest)


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
    files.write_json(folder / _META, {"schema": 1, "arch": versions.machine_arch(), "codename": codename})
    lines = [f"{files.sha256(path)}  {path.relative_to(folder)}\n" for path in _files(folder)]
    files.write_atomic(folder / SUMS, "".join(lines))


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from sorted(found for found in path.rglob("*") if found.is_file())


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


def import_(lab: Lab, path: Path, *, name: str = "") -> Index:
    """Take artefacts from an export, an OCI image layout or a ``docker save`` archive.

    Everything is verified before it is placed. ``name`` is the image's ``HOST/REPOSITORY:TAG``
    where the archive does not say it. Raises ``VerifyError`` naming what is wrong; what was placed
    before stays, and the same command goes on.
    """
    root = mirror_root(lab)
    if not path.exists():
        raise LabError(f"{path} does not exist", hint="inv mirror.import ARCHIVE")
    with held(root):
        folder = path if path.is_dir() else _unpack(path, root / "tmp" / "import")
        if (folder / SUMS).is_file():
            index = _import_export(lab, folder)
        else:
            index = foreign.place(folder, root, versions.lock(), versions.machine_arch(), origin=path.name, name=name)
        if index.find("tool", "crane") and index.find("tool", "registry"):
            publisher(lab).publish(index)
        else:
            say("placed; inv mirror.fill makes the tools that publish it")
    return load(lab)


def _unpack(path: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    try:
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise VerifyError(f"{path} is not a whole tar archive: {error}", hint="bring the archive again") from error
    inner = list(folder.iterdir())
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else folder


def _import_export(lab: Lab, folder: Path) -> Index:
    sums = check_sums(folder)
    meta = files.read_json(folder / _META, {})
    arch, codename = meta.get("arch"), meta.get("codename")
    if arch != versions.machine_arch():
        raise VerifyError(f"the export is for {arch} machines, this one is {versions.machine_arch()}",
                          hint="inv mirror.fill")  # fmt: skip
    if codename != (mine_is := distro.release().codename):
        say(f"the export's root filesystem is of {codename}: this machine ({mine_is}) makes its own, from the network")
    root, mine = mirror_root(lab), Index.read(mirror_root(lab))
    origin = f"the export's sums ({files.sha256(folder / SUMS)[:12]}…)"
    for artefact in Index.read(folder).artefacts:
        known = mine.find(artefact.kind, artefact.name)
        if known and known.digest == artefact.digest and (root / known.path).exists():
            continue
        _place(folder, root, artefact, sums)
        mine = mine.with_artefact(dataclasses.replace(artefact, source="imported", verified=origin))
        mine.write()
    for archive in sorted((folder / "rootfs").glob("*.tar")):
        target = lab.cache / "rootfs" / archive.name
        if not target.exists():
            _copy(archive, target)
    return mine


def check_sums(folder: Path) -> dict[str, str]:
    """Verify every file of an export; return the sums by path. Raises ``VerifyError``."""
    lines = [line.partition("  ") for line in (folder / SUMS).read_text().splitlines()]
    sums = {path: digest for digest, _, path in lines}
    for path, digest in sums.items():
        file = folder / path
        if ".." in Path(path).parts or Path(path).is_absolute() or not file.is_file():
            raise VerifyError(f"the export lacks {path}", hint="bring the export again")
        if files.sha256(file) != digest:
            raise VerifyError(f"{path} of the export has another checksum than its {SUMS} says",
                              hint="bring the export again")  # fmt: skip
    return sums


def _place(folder: Path, root: Path, artefact: Artefact, sums: Mapping[str, str]) -> None:
    """Put one artefact of an export into the mirror, whole."""
    source, target = folder / artefact.path, root / artefact.path
    if ".." in Path(artefact.path).parts or target == root:
        raise VerifyError(f"the export names {artefact.path!r}, which is outside", hint="do not use this export")
    if artefact.kind == "image":
        oci.verify(source, artefact.digest)
        foreign.replace_folder(source, target, root / "tmp" / "placed")
    elif f"sha256:{sums.get(artefact.path, '')}" != artefact.digest:
        raise VerifyError(f"{artefact.path} is not the {artefact.kind} that the index names", hint="bring it again")
    else:
        _copy(source, target, mode=0o755 if artefact.kind == "tool" else 0o644)


def _copy(source: Path, target: Path, *, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    part.chmod(mode)
    part.replace(target)
    files.sync_folder(target.parent)
