"""OCI images as folders: the same content gives the same bytes, on any machine.

Layers are plain tar, not compressed: a compressor's output differs between its versions, and a
node beside the mirror unpacks faster without.
"""

import dataclasses
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from hardwatt.core import files
from hardwatt.core.errors import VerifyError
from hardwatt.core.untrusted import AGAIN, inside, listing, mapping, read_json, sha256, show
from hardwatt.mirror import names

EPOCH = 1767225600
"""2026-01-01T00:00:00Z, the time of every file and of every image."""
CREATED = "2026-01-01T00:00:00Z"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_DOCKER = "application/vnd.docker"
INDEX_TYPES = (INDEX_TYPE, f"{_DOCKER}.distribution.manifest.list.v2+json")
MANIFEST_TYPES = (MANIFEST_TYPE, f"{_DOCKER}.distribution.manifest.v2+json")
CONFIG_TYPES = (CONFIG_TYPE, f"{_DOCKER}.container.image.v1+json")
LAYER_TYPES = (
    LAYER_TYPE, f"{LAYER_TYPE}+gzip", f"{LAYER_TYPE}+zstd",
    f"{_DOCKER}.image.rootfs.diff.tar", f"{_DOCKER}.image.rootfs.diff.tar.gzip",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file, link or folder of a layer."""

    path: str
    """Absolute path in the image."""
    content: Path | bytes | None = None
    """A file's content; None for a folder or a link."""
    mode: int = 0o755
    owner: int = 0
    """Numeric user and group."""
    link: str = ""
    """Target of a symbolic link."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Program, environment and user of a container of the image."""

    entrypoint: tuple[str, ...]
    user: str = ""
    """``UID:GID`` in numbers (Kubernetes' runAsNonRoot cannot judge a name)."""
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    workdir: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the ``config`` part of an OCI image configuration."""
        env = {"PATH": PATH, **self.env}
        config: dict[str, Any] = {
            "Entrypoint": list(self.entrypoint),
            "Env": [f"{name}={value}" for name, value in sorted(env.items())],
        }
        if self.user:
            config["User"] = self.user
        if self.cmd:
            config["Cmd"] = list(self.cmd)
        if self.workdir:
            config["WorkingDir"] = self.workdir
        if self.labels:
            config["Labels"] = dict(sorted(self.labels.items()))
        return config


@dataclasses.dataclass(frozen=True)
class Blob:
    """Something with a digest and a size."""

    digest: str
    size: int
    media_type: str

    def to_dict(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


class _Hashed(io.RawIOBase):
    """A file that knows the digest of what was written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        self.file.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)


class Layout:
    """An OCI image layout that is being written."""

    def __init__(self, folder: Path) -> None:
        """Start an empty layout in ``folder``, which must not hold anything of worth."""
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        self.blobs = folder / "blobs" / "sha256"
        self.blobs.mkdir(parents=True)

    def add_layer(self, entries: Iterable[Entry]) -> Blob:
        """Write a layer of ``entries``, in the order of their paths, parents made."""
        part = self.blobs / ".part"
        with part.open("wb") as file:
            hashed = _Hashed(file)
            _write_tar(hashed, entries)
        return self.keep(part, hashed.hash.hexdigest(), hashed.size)

    def add_tar(self, path: Path) -> Blob:
        """Take a finished tar as a layer."""
        part = self.blobs / ".part"
        shutil.copyfile(path, part)
        return self.keep(part, files.sha256(part), part.stat().st_size)

    def keep(self, part: Path, digest: str, size: int, media_type: str = LAYER_TYPE) -> Blob:
        """Move a file, whose digest (hexadecimal) and size are known, among the blobs."""
        part.rename(self.blobs / digest)
        return Blob(f"sha256:{digest}", size, media_type)

    def _add(self, data: bytes, media_type: str) -> Blob:
        digest = hashlib.sha256(data).hexdigest()
        (self.blobs / digest).write_bytes(data)
        return Blob(f"sha256:{digest}", len(data), media_type)

    def finish(self, layers: Sequence[Blob], config: Config, *, arch: str, reference: str) -> str:
        """Write configuration, manifest and index; return the manifest's digest."""
        settings = {
            "created": CREATED,
            "architecture": arch,
            "os": "linux",
            "config": config.to_dict(),
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": CREATED, "created_by": "hardwatt mirror"} for _ in layers],
        }
        return self.finish_with(layers, _compact(settings), reference=reference)

    def finish_with(self, layers: Sequence[Blob], settings: bytes, *, reference: str) -> str:
        """Do the same with a configuration that is there already, byte for byte."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": self._add(settings, CONFIG_TYPE).to_dict(),
            "layers": [layer.to_dict() for layer in layers],
        }
        kept = self._add(_compact(manifest), MANIFEST_TYPE)
        write_index(self.folder, kept, reference)
        return kept.digest


def _compact(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def write_index(folder: Path, manifest: Blob, reference: str) -> None:
    """Write ``oci-layout`` and ``index.json`` of a layout with one image."""
    descriptor = {**manifest.to_dict(), "annotations": {"org.opencontainers.image.ref.name": reference}}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [descriptor]}
    files.write_json(folder / "index.json", index)
    files.write_json(folder / "oci-layout", {"imageLayoutVersion": "1.0.0"})


def _write_tar(file: _Hashed, entries: Iterable[Entry]) -> None:
    wanted = {entry.path.strip("/"): entry for entry in entries}
    for path in list(wanted):
        for parent in Path(path).parents:
            if parent.name:
                wanted.setdefault(str(parent), Entry(str(parent)))
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(wanted):
            _add(tar, path, wanted[path])


def _add(tar: tarfile.TarFile, path: str, entry: Entry) -> None:
    info = tarfile.TarInfo(path)
    info.mtime, info.mode = EPOCH, entry.mode
    info.uid = info.gid = entry.owner
    if entry.link:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
        tar.addfile(info)
    elif entry.content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    elif isinstance(entry.content, bytes):
        info.size = len(entry.content)
        tar.addfile(info, io.BytesIO(entry.content))
    else:
        with entry.content.open("rb") as source:
            info.size = os.fstat(source.fileno()).st_size
            tar.addfile(info, source)


def descriptor(value: object, what: str, types: Collection[str]) -> Blob:
    """Return a descriptor that somebody else wrote, its digest and media type matched. Raises ``VerifyError``."""
    entry = mapping(value, what)
    names.digest(entry.get("digest"), what)
    count, media_type = entry.get("size"), entry.get("mediaType")
    if type(count) is not int or count < 0 or not isinstance(media_type, str) or media_type not in types:
        raise VerifyError(f"{what} has the size {show(count)} and the media type {show(media_type)}, "
                          "which is not accepted", hint=AGAIN)  # fmt: skip
    return Blob(str(entry["digest"]), count, media_type)


def blob(folder: Path, wanted: Blob) -> Path:
    """Return the file of a blob, its size and checksum compared. Raises ``VerifyError``."""
    what = f"the image {show(folder.name)}"
    path = inside(folder, f"blobs/sha256/{names.digest(wanted.digest, what)}", what=what)
    if path.stat().st_size != wanted.size or f"sha256:{sha256(path)}" != wanted.digest:
        raise VerifyError(f"{wanted.digest} in {what} has another checksum or size", hint=AGAIN)
    return path


def contents(folder: Path, manifest: Blob) -> tuple[Blob, ...]:
    """Return the configuration and layers that a manifest names, in this order. Raises ``VerifyError``."""
    document = mapping(read_json(blob(folder, manifest), what="an image's manifest"), "an image's manifest")
    if document.get("schemaVersion") != 2 or len({key.lower() for key in document}) != len(document):
        raise VerifyError("an image's manifest is not of schema 2 or has a key twice", hint=AGAIN)
    layers = listing(document.get("layers"), "the list of layers")
    config = descriptor(document.get("config"), "an image's configuration", CONFIG_TYPES)
    return (config, *(descriptor(layer, "a layer", LAYER_TYPES) for layer in layers))


def verify(folder: Path, digest: str = "") -> Blob:
    """Check every blob that a one-image layout needs; return the descriptor of its manifest.

    ``digest`` is the one expected. Raises ``VerifyError`` naming what is missing or wrong.
    """
    index = mapping(read_json(inside(folder, "index.json", what="the image")), "index.json")
    manifests = listing(index.get("manifests"), "the list of manifests")
    if len(manifests) != 1:
        raise VerifyError(f"{show(folder.name)} is not an OCI layout with one image", hint=AGAIN)
    manifest = descriptor(manifests[0], "the manifest", MANIFEST_TYPES)
    if digest and manifest.digest != digest:
        raise VerifyError(f"{show(folder.name)} holds {manifest.digest}, but {digest} is expected", hint=AGAIN)
    for wanted in contents(folder, manifest):
        blob(folder, wanted)
    return manifest


def size(folder: Path) -> int:
    """Return the bytes of all files of a layout."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
