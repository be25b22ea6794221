"""Images that somebody brings: OCI image layouts and ``docker save`` archives.

Some images can be neither downloaded file by file nor built. What the archive says of itself is
verified (every digest), and so is the lock's digest where it has one; who made the archive is the
word of the person who brings it, and the index says so.

Layers are never unpacked here: a node's container runtime does that, inside the container.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from hardwatt.config.versions import UNRESOLVED, Lock
from hardwatt.core.errors import LabError, RefusedError, VerifyError
from hardwatt.core.progress import say
from hardwatt.core.untrusted import AGAIN, LIMITS, inside, listing, mapping, read_json, show, take
from hardwatt.core.untrusted_packed import Packed
from hardwatt.mirror import commit, names, oci
from hardwatt.mirror.index import Artefact, Index

_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_CONFIG = re.compile(r"(?:.*/)?(?:sha256:)?([0-9a-f]{64})(?:\.json)?")
_LAYER = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_DEPTH = 4
"""Indexes inside indexes."""
MOST_COPIES = 40
"""Bytes that the images take, each with layers of its own, per byte of the archive, in which they share layers."""
MOST_IMAGES = 500
"""Images that one archive lists; a lab has about thirty."""


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
    """Put the images of an unpacked archive into the mirror, all or none; return its index.

    Raises ``VerifyError`` where the content is not what it says, ``RefusedError`` for an image
    that the mirror makes itself, or that has the last name part of one.
    """
    index, staged = Index.read(root), commit.staging(root)
    images = _distinct(_images(folder, staged, arch, name))
    made_here = {entry.repository for entry in lock.images.values()}
    digests = {entry.repository: entry.digest for entry in lock.foreign.values()}
    held = {image.name for image in images} | {image.name for image in index.images} | made_here
    moves = {}
    for image in images:
        if image.name in made_here:
            raise RefusedError(f"{image.name} is one that the mirror makes itself", hint="invoke mirror.fill")
        if own := names.own_like(image.name, made_here, digests):
            raise RefusedError(f"{image.name} has the last name part of {own}, which is the lab's own image",
                               hint="invoke mirror.import ARCHIVE --name HOST/OTHER-REPOSITORY:TAG")  # fmt: skip
        names.require_apart(image.name, held)
        wanted = digests.get(image.name, UNRESOLVED)
        if wanted not in (UNRESOLVED, image.digest):
            raise VerifyError(f"{image.name} is {image.digest}, but the lock says {wanted}", hint=AGAIN)
        how = f"its own digests; origin: {origin if origin.isprintable() else show(origin)}, as brought"
        path = names.image_path(image.name, image.tag)
        index = index.with_artefact(Artefact(
            image.name, "image", "extra", image.tag, "imported", how if wanted == UNRESOLVED else "the lock's digest",
            image.digest, str(path), "", oci.size(image.folder),
        ))  # fmt: skip
        moves[image.folder.name] = path
    commit.commit(staged, moves, index, {})
    for image in images:
        say(f"imported {image.name}:{image.tag} ({image.digest})")
    return index


def _distinct(images: Iterator[Found]) -> list[Found]:
    """Return each repository once: the mirror holds one tag of it."""
    by_name: dict[str, Found] = {}
    for image in images:
        known = by_name.setdefault(image.name, image)
        if known.digest != image.digest:
            raise RefusedError(f"the archive holds two images of {image.name}: {known.tag} and {image.tag}",
                               hint="save them into two archives, then invoke mirror.import ARCHIVE")  # fmt: skip
    return list(by_name.values())


def _images(folder: Path, work: Path, arch: str, name: str) -> Iterator[Found]:
    """Yield the images of an archive, each as a layout in a folder of ``work`` that has a number for its name."""
    if (folder / "oci-layout").is_file() and (folder / "index.json").is_file():
        index = mapping(read_json(inside(folder, "index.json")), "index.json")
        items = listing(index.get("manifests"), "the list of manifests")
        said = [_annotated(item) for item in items]
        read = _from_layout
    elif (folder / "manifest.json").is_file():
        items = listing(read_json(inside(folder, "manifest.json")), "manifest.json")
        said = [_tag(item) for item in items]
        read = _from_docker
    else:
        raise VerifyError(f"{show(folder.name)} is neither an export, nor an OCI image layout, "
                          "nor a docker save archive", hint=names.NAME_HINT)  # fmt: skip
    if not items or (name and len(items) > 1):
        raise LabError(f"the archive holds {len(items)} images" + (", and --name is for one" if items else ""),
                       hint="save one image into the archive, then invoke mirror.import ARCHIVE")  # fmt: skip
    if len(items) > MOST_IMAGES:
        raise VerifyError(f"the archive lists {len(items)} images, more than {MOST_IMAGES}", hint=AGAIN)
    seen: set[tuple[str, str]] = set()
    staged, packed = 0, oci.size(folder)
    for number, item in enumerate(items):
        repository, tag = names.reference(name or said[number])
        if (repository, content := _content(item)) in seen:
            continue  # the same image once more, perhaps under another tag
        seen.add((repository, content))
        image = read(folder, item, work / str(number), arch, repository, tag)
        staged += oci.size(image.folder)
        if staged > (most := min(LIMITS.total, max(LIMITS.grace, MOST_COPIES * packed))):
            raise VerifyError(f"the images of the archive take more than {most} bytes", hint=AGAIN)
        yield image


def _content(value: object) -> str:
    """Return what tells the content of an image in a list: its digest, or its configuration and layers."""
    item = mapping(value, "an image")
    return json.dumps([item.get(key) for key in ("digest", "Config", "Layers")], sort_keys=True)


def _annotated(value: object) -> object:
    annotations = mapping(mapping(value, "a manifest").get("annotations") or {}, "annotations")
    return next((annotations[key] for key in _NAMES if key in annotations), "")


def _tag(value: object) -> object:
    tags = listing(mapping(value, "an image of manifest.json").get("RepoTags") or [""], "RepoTags")
    return tags[0] if tags else ""


def _from_layout(folder: Path, value: object, work: Path, arch: str, name: str, tag: str) -> Found:
    """Copy one image of a layout; of an index, the one for this architecture."""
    what = f"{name}:{tag}"
    manifest = _for_arch(folder, value, arch, what)
    blobs = work / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    config, *layers = oci.contents(folder, manifest)
    _require_arch(read_json(oci.blob(folder, config), what="an image's configuration"), arch, what)
    for wanted in {blob.digest: blob for blob in (manifest, config, *layers)}.values():
        hexadecimal = wanted.digest.removeprefix("sha256:")
        source = inside(folder, f"blobs/sha256/{hexadecimal}")
        if take(source, blobs / hexadecimal) != (hexadecimal, wanted.size):
            raise VerifyError(f"{wanted.digest} in the archive has another checksum or size", hint=AGAIN)
    oci.write_index(work, manifest, what)
    return Found(name, tag, work, manifest.digest)


def _for_arch(folder: Path, value: object, arch: str, what: str) -> oci.Blob:
    """Return the manifest that ``value`` describes, through indexes."""
    for _ in range(_DEPTH):
        descriptor = oci.descriptor(value, f"the manifest of {what}", (*oci.INDEX_TYPES, *oci.MANIFEST_TYPES))
        if descriptor.media_type in oci.MANIFEST_TYPES:
            return descriptor
        inner = mapping(read_json(oci.blob(folder, descriptor), what="an index"), "an index")
        entries = [mapping(entry, "a manifest") for entry in listing(inner.get("manifests"), "the list of manifests")]
        fitting = [entry for entry in entries if _architecture(entry) == arch]
        if not fitting:
            raise VerifyError(f"{what} has no image for {arch}", hint=f"save it on a machine of {arch}")
        value = fitting[0]
    raise VerifyError(f"{what} has more than {_DEPTH} indexes inside each other", hint=AGAIN)


def _architecture(entry: Mapping[str, Any]) -> object:
    return mapping(entry.get("platform") or {}, "a platform").get("architecture")


def _require_arch(settings: object, arch: str, what: str) -> None:
    architecture = mapping(settings, "an image's configuration").get("architecture", arch)
    if architecture != arch:
        raise VerifyError(
            f"{what} is for {show(architecture).strip(chr(39))}, not {arch}", hint=f"save it on a machine of {arch}"
        )


def _from_docker(folder: Path, value: object, work: Path, arch: str, name: str, tag: str) -> Found:
    """Make a layout of an image in the older format of ``docker save``; its layers stay as they are."""
    item, layout = mapping(value, "an image of manifest.json"), oci.Layout(work)
    config = inside(folder, item.get("Config"))
    settings = mapping(read_json(config, what="an image's configuration"), "an image's configuration")
    data = config.read_bytes()
    _require_name(_CONFIG, str(item["Config"]), sha256(data).hexdigest())
    _require_arch(settings, arch, f"{name}:{tag}")
    expected = listing(mapping(settings.get("rootfs"), "rootfs").get("diff_ids"), "diff_ids")
    paths = listing(item.get("Layers"), "Layers")
    if len(paths) != len(expected):
        raise VerifyError(f"{name}:{tag} has {len(paths)} layers and {len(expected)} checksums", hint=AGAIN)
    layers = [_layer(folder, layout, path, diff) for path, diff in zip(paths, expected, strict=True)]
    return Found(name, tag, work, layout.finish_with(layers, data, reference=f"{name}:{tag}"))


def _layer(folder: Path, layout: oci.Layout, name: object, expected: object) -> oci.Blob:
    """Copy one layer; its checksum is the one of the tar inside, where it is packed."""
    part = layout.blobs / ".part"
    digest, size = take(inside(folder, name), part)
    _require_name(_LAYER, str(name), digest)
    with Packed(part) as packed:
        plain = sha256()
        for piece in packed.pieces():
            plain.update(piece)
    if f"sha256:{plain.hexdigest()}" != expected:
        raise VerifyError(f"the layer {show(name)} has another checksum", hint=AGAIN)
    return layout.keep(part, digest, size, oci.LAYER_TYPE + ("+gzip" if packed.gzipped else ""))


def _require_name(pattern: re.Pattern[str], name: str, digest: str) -> None:
    """Refuse a file whose name says another checksum than its content has."""
    said = pattern.fullmatch(name)
    if said and said[1] != digest:
        raise VerifyError(f"{show(name)} in the archive has another checksum", hint=AGAIN)
