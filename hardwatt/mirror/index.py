"""The record of what a mirror holds: each artefact, where it came from and how it was verified."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt import files
from hardwatt.errors import LabError

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
        return cls(**data)


@dataclasses.dataclass(frozen=True)
class Index:
    """All artefacts of one mirror."""

    root: Path
    """The mirror's folder."""
    artefacts: tuple[Artefact, ...] = ()

    @classmethod
    def read(cls, root: Path) -> "Index":
        """Return the index of the mirror in ``root`` (empty where there is none)."""
        data = files.read_json(root / "index.json", {"artefacts": []})
        return cls(root, tuple(Artefact.from_dict(item) for item in data["artefacts"]))

    def write(self) -> None:
        """Write ``index.json``, atomically and in a fixed order."""
        ordered = sorted(self.artefacts, key=lambda a: (a.kind, a.name))
        data = {"schema": SCHEMA, "artefacts": [dataclasses.asdict(a) for a in ordered]}
        files.write_json(self.root / "index.json", data)

    def with_artefact(self, artefact: Artefact) -> "Index":
        """Return an index in which ``artefact`` replaces the one of its kind and name."""
        others = tuple(a for a in self.artefacts if (a.kind, a.name) != (artefact.kind, artefact.name))
        return Index(self.root, (*others, artefact))

    def find(self, kind: str, name: str) -> Artefact | None:
        """Return the artefact of a kind by name; an image's last name part is enough."""
        for artefact in self.artefacts:
            if artefact.kind == kind and name in (artefact.name, artefact.name.rpartition("/")[2]):
                return artefact
        return None

    def get(self, kind: str, name: str) -> Artefact:
        """Return the artefact, or raise ``LabError`` where the mirror does not hold it."""
        if found := self.find(kind, name):
            return found
        raise LabError(f"the mirror holds no {kind} {name!r}", hint="inv mirror.fill")

    def image(self, name: str) -> Image:
        """Return the image of a short (``kube-apiserver``) or full name."""
        artefact = self.get("image", name)
        return Image(artefact.name, artefact.version, artefact.digest)

    def has_image(self, name: str) -> bool:
        """Return whether the mirror holds the image; the optional ones (Kepler, Grafana) may be missing."""
        return self.find("image", name) is not None

    @property
    def images(self) -> tuple[Image, ...]:
        """All images, sorted by name."""
        found = [Image(a.name, a.version, a.digest) for a in self.artefacts if a.kind == "image"]
        return tuple(sorted(found, key=lambda image: image.name))

    @property
    def debs(self) -> dict[str, str]:
        """Package name to version, as in ``{"kubelet": "1.36.3+lab.1"}``."""
        return {a.name: a.version for a in sorted(self.artefacts, key=lambda a: a.name) if a.kind == "package"}

    def tool(self, name: str) -> Path:
        """Return the path of a host tool: flux, kubectl, promtool, crane or registry."""
        return self.root / self.get("tool", name).path
