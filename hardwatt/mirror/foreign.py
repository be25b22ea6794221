"""Images that somebody brings: OCI image layouts and ``docker save`` archives.

Some images can be neither downloaded file by file nor built. What the archive says of itself is
verified (every digest), and so is the lock's digest where it has one; who made the archive is the
word of the person who brings it, and the index says so.
"""

import dataclasses
import gzip
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hardwatt import files
from hardwatt.errors import LabError, RefusedError, VerifyError
from hardwatt.mirror import oci
from hardwatt.mirror.index import Artefact, Index
from hardwatt.progress import say
from hardwatt.versions import UNRESOLVED, Lock

_INDEX_TYPES = (oci.INDEX_TYPE, "application/vnd.docker.distribution.manifest.list.v2+json")
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_AGAIN = "bring the archive again"
_NAME_HINT = "inv mirror.import ARCHIVE --name HOST/REPOSITORY:TAG"


@dataclasses.dataclass(frozen=True)
class Found:
    """One image in an archive."""

    name: str
    """``HOST/REPOSITORY``."""
    tag: str
    folder: Path
    """An OCI layout with just this image, not yet placed."""
    digest: str


def place(folder: Path, root: Path, lock: Lock, arch: str, *, origin: str, name: str = "") -> Index:
    """Put the images of an unpacked archive into the mirror; return its index.

    Raises ``VerifyError`` where the content is not what it says, ``RefusedError`` for an image
    that the mirror makes itself.
    """
    index = Index.read(root)
    made_here = {entry.repository for entry in lock.images.values()}
    digests = {entry.repository: entry.digest for entry in lock.foreign.values()}
    for found in _images(folder, root / "tmp" / "foreign", arch, name):
        if found.name in made_here:
            raise RefusedError(f"{found.name} is one that the mirror makes itself", hint="inv mirror.fill")
        wanted = digests.get(found.name, UNRESOLVED)
        if wanted not in (UNRESOLVED, found.digest):
            raise VerifyError(f"{found.name} is {found.digest}, but the lock says {wanted}", hint=_AGAIN)
        how = "the lock's digest" if wanted != UNRESOLVED else f"its own digests; origin: {origin}, as brought"
        target = root / "images" / found.name / found.tag
        replace_folder(found.folder, target, root / "tmp" / "placed")
        index = index.with_artefact(Artefact(
            found.name, "image", "extra", found.tag, "imported", how, found.digest,
            str(target.relative_to(root)), "", oci.size(target),
        ))  # fmt: skip
        index.write()
        say(f"imported {found.name}:{found.tag} ({found.digest})")
    return index


def replace_folder(source: Path, target: Path, part: Path) -> None:
    """Copy ``source`` over ``target``; it appears by a rename. ``part`` is a free name beside it."""
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    part.rename(target)


def _images(folder: Path, work: Path, arch: str, name: str) -> Iterator[Found]:
    if (folder / "oci-layout").is_file() and (folder / "index.json").is_file():
        descriptors = _parse(folder / "index.json").get("manifests", [])
        named = [(_annotated(one), one) for one in descriptors]
        for number, (said, one) in enumerate(named):
            reference = name if name and len(named) == 1 else said
            yield _from_layout(folder, one, work / str(number), arch, *split(reference))
    elif (folder / "manifest.json").is_file():
        items = json.loads((folder / "manifest.json").read_bytes())
        for number, item in enumerate(items):
            reference = name if name and len(items) == 1 else (item.get("RepoTags") or [""])[0]
            yield _from_docker(folder, item, work / str(number), arch, *split(reference))
    else:
        raise VerifyError(f"{folder.name} is neither an export, nor an OCI image layout, nor a docker save archive",
                          hint=_NAME_HINT)  # fmt: skip


def _parse(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise VerifyError(f"{path.name} of the archive cannot be read: {error}", hint=_AGAIN) from error
    return found


def _annotated(descriptor: Mapping[str, Any]) -> str:
    annotations = descriptor.get("annotations") or {}
    return next((str(annotations[key]) for key in _NAMES if key in annotations), "")


def split(reference: str) -> tuple[str, str]:
    """Return repository (with its host) and tag of a reference such as ``grafana/grafana:12.0``.

    Raises ``LabError`` where the archive does not say both.
    """
    repository, _, tag = reference.partition("@")[0].rpartition(":")
    if not repository or "/" in tag:
        raise LabError(f"the archive does not say which image it holds (it says {reference!r})", hint=_NAME_HINT)
    host = repository.partition("/")[0]
    if "." in host or ":" in host or host == "localhost":
        return repository, tag
    return f"docker.io/{repository if '/' in repository else f'library/{repository}'}", tag


def _blob(folder: Path, descriptor: Mapping[str, Any]) -> Path:
    algorithm, _, digest = str(descriptor["digest"]).partition(":")
    path = folder / "blobs" / algorithm / digest
    if algorithm != "sha256" or not path.is_file():
        raise VerifyError(f"the archive lacks {descriptor['digest']}", hint=_AGAIN)
    if files.sha256(path) != digest:
        raise VerifyError(f"{descriptor['digest']} in the archive has another checksum", hint=_AGAIN)
    return path


def _from_layout(folder: Path, descriptor: Mapping[str, Any], work: Path, arch: str, name: str, tag: str) -> Found:
    """Copy one image of a layout; of an index, the one for this architecture."""
    if descriptor.get("mediaType") in _INDEX_TYPES:
        inner = _parse(_blob(folder, descriptor)).get("manifests", [])
        fitting = [one for one in inner if one.get("platform", {}).get("architecture") == arch]
        if not fitting:
            raise VerifyError(f"{name}:{tag} has no image for {arch}", hint=_AGAIN)
        return _from_layout(folder, fitting[0], work, arch, name, tag)
    manifest = _parse(_blob(folder, descriptor))
    blobs = work / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for one in (descriptor, manifest["config"], *manifest["layers"]):
        path = _blob(folder, one)
        shutil.copyfile(path, blobs / path.name)
    kept = oci.Blob(str(descriptor["digest"]), int(descriptor["size"]), str(descriptor["mediaType"]))
    oci.write_index(work, kept, f"{name}:{tag}")
    return Found(name, tag, work, kept.digest)


def _from_docker(folder: Path, item: Mapping[str, Any], work: Path, arch: str, name: str, tag: str) -> Found:
    """Make a layout of an image in the older format of ``docker save``; its layers stay as they are."""
    layout = oci.Layout(work)
    data = (folder / item["Config"]).read_bytes()
    settings = json.loads(data)
    if settings.get("architecture") != arch:
        raise VerifyError(f"{name}:{tag} is for {settings.get('architecture')}, not {arch}", hint=_AGAIN)
    layers = []
    for path, expected in zip(item["Layers"], settings["rootfs"]["diff_ids"], strict=True):
        tar = folder / path
        if _plain_digest(tar) != expected:
            raise VerifyError(f"the layer {path} of {name}:{tag} has another checksum", hint=_AGAIN)
        layers.append(layout.add_tar(tar, packed=_is_gzip(tar)))
    return Found(name, tag, work, layout.finish_with(layers, data, reference=f"{name}:{tag}"))


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _plain_digest(path: Path) -> str:
    with gzip.open(path) if _is_gzip(path) else path.open("rb") as file:
        digest = hashlib.sha256()
        while piece := file.read(1 << 20):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
