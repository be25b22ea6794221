"""Filling a mirror from an export or from an image archive, offline.

An export is data of its maker: its sums cover every file, its index names kinds, names and
digests, and where a file lands follows from kind and name alone.
"""

import dataclasses
import hashlib
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.config.versions import Lock
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.progress import say
from hardwatt.core.untrusted import AGAIN, LIMITS, Names, files_in, inside, mapping, read_json, sha256, show, take
from hardwatt.core.untrusted_tar import unpack
from hardwatt.machines import rootfs
from hardwatt.mirror import commit, distro, image_import, names, oci
from hardwatt.mirror.fill import disk, held, load, mirror_root, publisher
from hardwatt.mirror.index import Artefact, Index

SUMS = "SHA256SUMS"
META = "hardwatt-mirror.json"
_INDEX = "index.json"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_ROOTFS = re.compile(r"rootfs/([a-z0-9.]+-(?:x86_64|aarch64)-[0-9a-f]{12}\.tar)")
_BRING = "get the export again from its maker"


def import_(lab: Lab, path: Path, *, name: str = "", sha256: str = "") -> Index:
    """Take artefacts from an export, an OCI image layout or a ``docker save`` archive; all or none.

    Everything is verified before anything is placed. ``name`` is the image's
    ``HOST/REPOSITORY:TAG`` where the archive does not say it; ``sha256`` is the sum that
    ``mirror.export`` printed, or the sum of an image archive. Raises ``VerifyError`` naming what is
    wrong.
    """
    root, wanted = mirror_root(lab), _wanted(sha256)
    if not path.exists():
        raise LabError(f"{path} does not exist", hint="invoke mirror.import ARCHIVE")
    with held(root), disk(root):
        work = root / "tmp"
        try:
            _import(lab, path, work / "import", name, wanted)
        finally:
            for left in ("import", "staged"):
                shutil.rmtree(work / left, ignore_errors=True)
        index = Index.read(root)
        if index.find("tool", "crane") and index.find("tool", "registry"):
            publisher(lab).publish(index)
        else:
            say("placed; invoke mirror.fill makes the tools that publish it")
    return load(lab)


def _wanted(text: str) -> str:
    checksum = text.strip().lower().removeprefix("sha256:")
    if checksum and not names.is_sum(checksum):
        raise LabError(f"--sha256 {show(text)} is not a SHA-256 of 64 hexadecimal digits",
                       hint="invoke mirror.import ARCHIVE --sha256 SUM, with the sum that invoke mirror.export printed",
                       )  # fmt: skip
    return checksum


def _import(lab: Lab, path: Path, work: Path, name: str, wanted: str) -> None:
    source = path.resolve()
    folder = source if source.is_dir() else _unpack(source, work)
    if (folder / SUMS).is_file():
        _import_export(lab, folder, wanted, ours=folder is not source)
        return
    if wanted and source.is_dir():
        raise LabError("--sha256 is the sum of an export or of an archive file, and this is a folder with an image",
                       hint="invoke mirror.import ARCHIVE")  # fmt: skip
    if wanted and (checksum := sha256(source)) != wanted:
        raise VerifyError(f"{show(path.name)} has the sum {checksum}, not {wanted}", hint="get it again from its maker")
    image_import.place(folder, mirror_root(lab), versions.lock(), versions.machine_arch(), origin=path.name, name=name)


def _unpack(archive: Path, folder: Path) -> Path:
    unpack(archive, folder)
    inner = list(folder.iterdir())
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else folder


@dataclasses.dataclass(frozen=True)
class _Verified:
    """The files of an export, copied, each with the sum that is listed."""

    folder: Path
    sums: Mapping[str, str]
    digest: str
    """SHA-256 of the list of sums: it covers all of the export."""


def _import_export(lab: Lab, folder: Path, wanted: str, *, ours: bool) -> None:
    root = mirror_root(lab)
    staged = commit.staging(root)
    export = _stage(folder, staged / "files", wanted, ours=ours)
    codename = _codename(export)
    lock, mine = versions.lock(), Index.read(root)
    artefacts, used = _artefacts(export, lock, mine)
    system = _system(lab, export, codename)
    for path in export.sums:
        if path not in used and path not in (META, _INDEX) and not _ROOTFS.fullmatch(path):
            raise VerifyError(f"{show(path)} of the export belongs to no artefact of its index", hint=AGAIN)
    moves = {}
    for artefact in artefacts:
        if not _needed(artefact, lock, mine):
            continue
        if artefact.kind == "tool":
            (export.folder / artefact.path).chmod(0o755)
        moves[f"files/{artefact.path}"] = Path(artefact.path)
        mine = mine.with_artefact(artefact)
    _announce(export, artefacts, moves, system)
    commit.commit(staged, moves, mine, system)


def _stage(folder: Path, target: Path, wanted: str, *, ours: bool) -> _Verified:
    """Bring all files of an export to ``target`` and compare their sums. Raises ``VerifyError``."""
    present = files_in(folder)
    data = inside(folder, SUMS, what="the export").read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if wanted and digest != wanted:
        raise VerifyError(f"the export has the sum {digest}, not {wanted}", hint=_BRING)
    sums = read_sums(data)
    if unlisted := sorted(set(present) - {SUMS, *sums}):
        raise VerifyError(f"the export holds {show(unlisted[0])}, which its {SUMS} does not list", hint=AGAIN)
    if ours:
        folder.rename(target)
    for path, expected in sums.items():
        if path not in present:
            raise VerifyError(f"the export lacks {path}", hint=_BRING)
        place = target / path
        if not ours:
            place.parent.mkdir(parents=True, exist_ok=True)
        checksum = sha256(place) if ours else take(inside(folder, path, what="the export"), place)[0]
        if checksum != expected:
            raise VerifyError(f"{path} of the export has another checksum than its {SUMS} says", hint=_BRING)
    return _Verified(target, sums, digest)


def read_sums(data: bytes) -> dict[str, str]:
    """Return path to sum (hexadecimal) of an export's list. Raises ``VerifyError``."""
    if len(data) > LIMITS.json:
        raise VerifyError(f"{SUMS} is larger than {LIMITS.json} bytes", hint=AGAIN)
    sums, seen = {}, Names(SUMS)
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        if not line:
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise VerifyError(f"{SUMS} holds the line {show(line)}, which is not a SHA-256 and a path", hint=AGAIN)
        seen.add(match[2])
        if match[2].startswith("./") or match[2] == SUMS:
            raise VerifyError(f"{SUMS} lists {show(match[2])}", hint=AGAIN)
        sums[match[2]] = match[1]
    return sums


def _codename(export: _Verified) -> str:
    """Return the distribution release that an export was made on. Raises ``VerifyError``."""
    meta = mapping(read_json(inside(export.folder, META, what="the export")), META)
    arch, codename = meta.get("arch"), meta.get("codename")
    if meta.get("schema") != 1:
        raise VerifyError(f"the export has the schema {show(meta.get('schema'))}, but this toolkit reads 1",
                          hint="export again with this toolkit: invoke mirror.export FOLDER")  # fmt: skip
    if arch != versions.machine_arch():
        raise VerifyError(f"the export is for {show(arch)} machines, this one is {versions.machine_arch()}",
                          hint="invoke mirror.fill")  # fmt: skip
    return str(codename)


def _artefacts(export: _Verified, lock: Lock, mine: Index) -> tuple[list[Artefact], set[str]]:
    """Return the artefacts of an export, verified, and the paths of all their files. Raises ``VerifyError``."""
    data = read_json(inside(export.folder, _INDEX, what="the export"), what="the export's index")
    verified: dict[tuple[str, str], Artefact] = {}
    used: set[str] = set()
    for said in Index.from_dict(export.folder, data).artefacts:
        artefact, paths = _verified(export, said)
        if (artefact.kind, artefact.name) in verified:
            raise VerifyError(f"the export's index names {artefact.kind} {artefact.name} twice", hint=AGAIN)
        verified[artefact.kind, artefact.name] = artefact
        used |= paths
    images = {a.name for a in (*verified.values(), *mine.artefacts) if a.kind == "image"}
    for repository in images:
        names.require_apart(repository, images | {entry.repository for entry in lock.images.values()})
    return list(verified.values()), used


def _verified(export: _Verified, said: Artefact) -> tuple[Artefact, set[str]]:
    """Return an artefact with the place that its kind and name give, and the paths of its files."""
    path = names.place(said.kind, said.name, said.version, versions.machine_arch())
    if said.path != str(path):
        raise VerifyError(f"the export names the path {show(said.path)} for {said.kind} {said.name}, not {path}",
                          hint=AGAIN)  # fmt: skip
    names.digest(said.digest, f"{said.kind} {said.name}")
    if said.group not in (*versions.GROUPS, "extra"):
        raise VerifyError(f"the export's {said.kind} {said.name} is of the group {show(said.group)}", hint=AGAIN)
    if said.kind == "image":
        paths = _image(export.folder / path, path, said)
        size = oci.size(export.folder / path)
    else:
        paths = {str(path)}
        if f"sha256:{export.sums.get(str(path), '')}" != said.digest:
            raise VerifyError(f"{path} is not the {said.kind} that the index names", hint=_BRING)
        size = (export.folder / path).stat().st_size
    verified = f"the export's sums ({export.digest[:12]}…)"
    made = dataclasses.replace(said, path=str(path), source="imported", verified=verified, size=size)
    return made, paths


def _image(folder: Path, path: Path, said: Artefact) -> set[str]:
    """Verify the layout of an image; return the paths of its files in the export."""
    manifest = oci.verify(folder, said.digest)
    needed = (manifest, *oci.contents(folder, manifest))
    blobs = {f"{path}/blobs/sha256/{blob.digest.removeprefix('sha256:')}" for blob in needed}
    oci.write_index(folder, manifest, f"{said.name}:{said.version}")
    return blobs | {f"{path}/index.json", f"{path}/oci-layout"}


def _needed(artefact: Artefact, lock: Lock, mine: Index) -> bool:
    """Return False for what the mirror holds whole already, and for what this lab has no use for."""
    if artefact.kind != "image" and artefact.name not in (lock.tools if artefact.kind == "tool" else lock.packages):
        say(f"left out: {artefact.kind} {artefact.name}, which this toolkit does not use")
        return False
    made_here = [entry.repository for entry in lock.images.values()]
    optional = [entry.repository for entry in lock.foreign.values()]
    if artefact.kind == "image" and (own := names.own_like(artefact.name, made_here, optional)):
        say(f"left out: image {artefact.name}, which has the last name part of {own}, the lab's own")
        return False
    known = mine.find(artefact.kind, artefact.name)
    if not known or (known.name, known.version, known.digest) != (artefact.name, artefact.version, artefact.digest):
        return True
    path = mine.root / known.path
    size = oci.size(path) if known.kind == "image" else path.stat().st_size if path.is_file() else -1
    return size != artefact.size


def _system(lab: Lab, export: _Verified, codename: str) -> dict[str, Path]:
    """Return the move of the export's root filesystem, where it is the one that this machine uses."""
    mine = distro.release().codename
    target = rootfs.archive(lab.cache, mine, platform.machine())
    if codename != mine:
        say(
            f"the export's root filesystem is of {show(codename)}: "
            f"this machine ({mine}) makes its own, from the network"
        )
    elif f"rootfs/{target.name}" in export.sums:
        return {} if target.exists() else {f"files/rootfs/{target.name}": Path(target.name)}
    elif any(path.startswith("rootfs/") for path in export.sums):
        say("left out: the export's root filesystem, which was made with another recipe")
    return {}


def _announce(
    export: _Verified, artefacts: list[Artefact], moves: Mapping[str, Path], system: Mapping[str, Path]
) -> None:
    """Print the export's sum, and which programs of its maker will run, before one of them does."""
    say(f"the sum of the export is {export.digest}: mirror.export printed it where the export was made")
    brought = [artefact for artefact in artefacts if f"files/{artefact.path}" in moves]
    tools = ", ".join(sorted(a.name for a in brought if a.kind == "tool"))
    packages = ", ".join(sorted(a.name for a in brought if a.kind == "package"))
    images = sum(a.kind == "image" for a in brought)
    if tools:
        say(f"programs of its maker that run on this machine, as you: {tools}")
    if packages or images or system:
        brings = [f"packages {packages}"] if packages else []
        brings += [f"{images} images"] if images else []
        brings += ["the root filesystem"] if system else []
        say(f"and on nodes, as root: {', '.join(brings)}")
