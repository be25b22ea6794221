"""The record of what a mirror holds: each artefact, where it came from and how it was verified."""

import dataclasses
import functools
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.config.versions import lock
from hardwatt.core import files
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.untrusted import AGAIN, listing, mapping, read_json, show

SOURCES = ("built", "downloaded", "imported", "upstream")
KINDS = ("package", "image", "tool")
SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class Image:
    """One container image, under upstream's name."""

    name: str
    """Repository with its host, as in ``registry.k8s.io/kube-apiserver``."""
    tag: str
    digest: str
    """``sha256:...`` of the manifest; empty where upstream's registry is used and the lock has none."""

    @property
    def reference(self) -> str:
        """``NAME:TAG@DIGEST``, what a node pulls."""
        return f"{self.name}:{self.tag}" + (f"@{self.digest}" if self.digest else "")

    @property
    def short(self) -> str:
        """The last part of the name, as in ``kube-apiserver``."""
        return self.name.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Artefact:
    """One thing that the mirror holds."""

    name: str
    """Package, image or tool name (an image's is its repository with the host)."""
    kind: str
    """One of ``package``, ``image``, ``tool``."""
    group: str
    """``node`` (all that kubeadm needs), ``gitops`` or ``extra`` (imported)."""
    version: str
    """Package version, image tag, or the tool's version."""
    source: str
    """One of ``built``, ``downloaded``, ``imported``, ``upstream``."""
    verified: str
    """How its content was verified, in words."""
    digest: str
    """``sha256:...`` of the file, or of an image's manifest."""
    path: str
    """Where it lies, relative to the mirror (an image: the folder of its OCI layout)."""
    key: str
    """What it was made from; another key means that it must be made again."""
    size: int = 0
    """Bytes on disk."""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Artefact":
        """Return the artefact of an entry of an index. Raises ``VerifyError`` naming the field that is wrong."""
        types = {field.name: int if field.name == "size" else str for field in dataclasses.fields(cls)}
        entry = {"size": 0, **mapping(data, "an artefact")}
        for name in (*types, *entry):
            if name not in types or name not in entry or not isinstance(entry[name], types[name]):
                raise VerifyError(
                    f"an artefact of the index has a missing, unknown or wrong field {show(name)}", hint=AGAIN
                )
        return cls(**entry)


@dataclasses.dataclass(frozen=True)
class Index:
    """All artefacts of one mirror."""

    root: Path
    """The mirror's folder."""
    artefacts: tuple[Artefact, ...] = ()

    @classmethod
    def read(cls, root: Path) -> "Index":
        """Return the index of the mirror in ``root`` (empty where there is none)."""
        path = root / "index.json"
        if not path.exists():
            return cls(root)
        try:
            return cls.from_dict(root, read_json(path))
        except VerifyError as error:
            raise VerifyError(f"the mirror's {path} is damaged: {error.message}",
                              hint=f"rm {shlex.quote(str(path))}, then invoke mirror.fill") from None  # fmt: skip

    @classmethod
    def from_dict(cls, root: Path, data: object) -> "Index":
        """Return the index that ``to_dict`` gave. Raises ``VerifyError``."""
        document = mapping(data, "the index")
        if document.get("schema", SCHEMA) != SCHEMA:
            raise VerifyError(
                f"the index has the schema {show(document['schema'])}, but this toolkit reads {SCHEMA}", hint=AGAIN
            )
        items = listing(document.get("artefacts"), "the index's list of artefacts")
        return cls(root, tuple(Artefact.from_dict(item) for item in items))

    def to_dict(self) -> dict[str, Any]:
        """Return the index as JSON values, in a fixed order."""
        ordered = sorted(self.artefacts, key=lambda a: (a.kind, a.name))
        return {"schema": SCHEMA, "artefacts": [dataclasses.asdict(a) for a in ordered]}

    def write(self) -> None:
        """Write ``index.json``, atomically."""
        files.write_json(self.root / "index.json", self.to_dict())

    def with_artefact(self, artefact: Artefact) -> "Index":
        """Return an index in which ``artefact`` replaces the one of its kind and name."""
        others = tuple(a for a in self.artefacts if (a.kind, a.name) != (artefact.kind, artefact.name))
        return Index(self.root, (*others, artefact))

    def find(self, kind: str, name: str) -> Artefact | None:
        """Return the artefact of a kind by name.

        Of an image that the lock names, the last name part is enough. It stands for the lock's
        repository and no other: an image that somebody brought has its full name only.
        """
        wanted = lock().repository(name) or name if kind == "image" else name
        return next((a for a in self.artefacts if (a.kind, a.name) == (kind, wanted)), None)

    def get(self, kind: str, name: str) -> Artefact:
        """Return the artefact, or raise ``LabError`` where the mirror does not hold it."""
        if artefact := self.find(kind, name):
            return artefact
        raise LabError(f"the mirror holds no {kind} {name!r}", hint="invoke mirror.fill")

    def image(self, name: str) -> Image:
        """Return the image of a full name, or of a short one of the lock's (``kube-apiserver``)."""
        artefact = self.get("image", name)
        return Image(artefact.name, artefact.version, artefact.digest)

    def has_image(self, name: str) -> bool:
        """Return whether the mirror holds the image; the optional ones (Kepler, Grafana) may be missing."""
        return self.find("image", name) is not None

    @property
    def images(self) -> tuple[Image, ...]:
        """All images, sorted by name."""
        images = [Image(a.name, a.version, a.digest) for a in self.artefacts if a.kind == "image"]
        return tuple(sorted(images, key=lambda image: image.name))

    @property
    def debs(self) -> dict[str, str]:
        """Package name to version, as in ``{"kubelet": "1.36.3+lab.1"}``."""
        return {a.name: a.version for a in sorted(self.artefacts, key=lambda a: a.name) if a.kind == "package"}

    def tool(self, name: str) -> Path:
        """Return the path of a host tool: flux, kubectl, promtool, crane or registry.

        Raises ``VerifyError`` where its content is not what the index names.
        """
        artefact = self.get("tool", name)
        path = self.root / artefact.path
        if artefact.digest and path.is_file():
            status = path.stat()
            if _digest(path, status.st_size, status.st_mtime_ns, status.st_ino) != artefact.digest:
                raise VerifyError(f"the tool {name} of the mirror is damaged: {path}",
                                  hint=f"rm {shlex.quote(str(path))}, then invoke mirror.fill")  # fmt: skip
        return path


@functools.lru_cache(maxsize=32)
def _digest(path: Path, size: int, changed: int, inode: int) -> str:
    """Return the digest of a file, computed once for each of its states."""
    return f"sha256:{files.sha256(path)}"
