"""``versions.lock.toml``: the one place of versions, read into frozen records.

A sum without the place it was read from, an unknown key, a reference to a source that is not
there: each is refused when the file is read, not when a download fails.
"""

import dataclasses
import functools
import platform
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from hardwatt.core.errors import LabError, VerifyError

PATH = Path(__file__).resolve().parent.parent.parent / "versions.lock.toml"
UNRESOLVED = "unresolved"
GROUPS = ("node", "gitops", "ci")
OPTIONAL = ("ci",)
"""Groups that are made only where somebody asks for them by name."""
KINDS = ("file", "archive", "image", "own")
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_MACHINES = {"amd64": "x86_64", "arm64": "arm64"}  # as release archives are named that say x86_64

T = TypeVar("T")


def machine_arch() -> str:
    """Return this machine's architecture in Go's words (``amd64``, ``arm64``).

    Raises ``LabError`` on another one.
    """
    machine = platform.machine()
    if machine not in _ARCHES:
        raise LabError(f"nothing is built for {machine} machines", hint="use a host over SSH: see lab.example.toml")
    return _ARCHES[machine]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a set of binaries comes from: a verified file of upstream's, or a build."""

    name: str
    version: str
    kind: str
    binaries: Mapping[str, str]
    """Binary name to its path inside the archive ("" where the file itself is the binary)."""
    family: str = ""
    """Folder of hardwatt/mirror/build/go that builds it; empty: upstream only."""
    module: str = ""
    """``PATH VERSION`` that the family's go.mod must require."""
    url: str = ""
    """Upstream's address, with {version}, {arch} and {machine}."""
    sums: str = ""
    """Where upstream publishes the checksums, with {url} too: what resolving the lock reads."""
    sha256: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Architecture to hexadecimal sum; empty where the lock says "unresolved"."""
    place: str = ""
    """Where the sums were read."""

    def fill(self, template: str, arch: str) -> str:
        """Return ``template`` with version, architecture and machine put in."""
        return template.format(version=self.version, arch=arch, machine=_MACHINES[arch])

    def address(self, arch: str) -> str:
        """Return upstream's URL for ``arch``; empty where upstream publishes no file."""
        return self.fill(self.url, arch)

    def members(self, arch: str) -> dict[str, str]:
        """Return binary name to path inside the archive, for ``arch``."""
        return {name: self.fill(path, arch) for name, path in self.binaries.items()}

    def verifiable(self, arch: str) -> bool:
        """Return whether the lock can verify a download for ``arch``."""
        return bool(self.url) and arch in self.sha256


@dataclasses.dataclass(frozen=True)
class Package:
    """A .deb made of a source's binaries, under upstream's name."""

    name: str
    group: str
    source: str
    upstream: str


@dataclasses.dataclass(frozen=True)
class ImageEntry:
    """A container image made of a source's binaries, under upstream's name."""

    name: str
    group: str
    source: str
    repository: str
    tag: str
    """Template of the tag, with {version}; a built one gets ``_lab.N`` behind it."""
    upstream: str
    """Upstream's own tag; empty where the image exists nowhere else."""
    digest: str


@dataclasses.dataclass(frozen=True)
class Tool:
    """A program that runs on the controller."""

    name: str
    group: str
    source: str


@dataclasses.dataclass(frozen=True)
class Foreign:
    """An image that can be neither downloaded as a file nor built: it is imported, or left out."""

    name: str
    repository: str
    tag: str
    digest: str


@dataclasses.dataclass(frozen=True)
class Legacy:
    """A binary of the legacy preset: upstream's packages only, never built."""

    name: str
    version: str
    url: str
    sha256: Mapping[str, str]
    place: str


@dataclasses.dataclass(frozen=True)
class Lock:
    """The whole lock."""

    go: str
    revision: int
    places: Mapping[str, str]
    sources: Mapping[str, Source]
    packages: Mapping[str, Package]
    images: Mapping[str, ImageEntry]
    tools: Mapping[str, Tool]
    foreign: Mapping[str, Foreign]
    legacy: Mapping[str, Legacy]

    def package_version(self, name: str) -> str:
        """Return the version of a package made here, as in ``1.36.3+lab.1``."""
        return f"{self.sources[self.packages[name].source].version}+lab.{self.revision}"

    def image_tag(self, name: str) -> str:
        """Return the tag of an image made here, as in ``v1.36.3_lab.1``."""
        entry = self.images[name]
        return f"{entry.tag.format(version=self.sources[entry.source].version)}_lab.{self.revision}"

    @property
    def kubernetes(self) -> str:
        """Kubernetes' version as kubeadm's ``kubernetesVersion`` wants it, as in ``v1.36.3+lab.1``.

        kubeadm turns the plus into an underscore to get the image tag.
        """
        return f"v{self.package_version('kubeadm')}"


def load(path: Path = PATH) -> Lock:
    """Read and check the lock. Raises ``VerifyError`` naming the entry and what is wrong with it."""
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise VerifyError(f"{path.name} cannot be read: {error}", hint=f"git checkout {path.name}") from error
    return parse(data)


@functools.cache
def lock() -> Lock:
    """Return the checkout's own lock, read once."""
    return load()


def parse(data: Mapping[str, Any]) -> Lock:
    """Turn the parsed file into a ``Lock``. Raises ``VerifyError``."""
    names = ("schema", "go", "revision", "places", "source", "package", "image", "tool", "foreign", "legacy")
    if unknown := sorted(set(data) - set(names)):
        raise _wrong("the file", f"unknown key {unknown[0]!r}")
    if data.get("schema") != 1:
        raise _wrong("the file", f"schema {data.get('schema')!r}, but this toolkit reads 1")
    places = dict(data.get("places", {}))
    found = Lock(
        go=str(data["go"]),
        revision=int(data["revision"]),
        places=places,
        sources={name: _source(name, entry, places) for name, entry in data.get("source", {}).items()},
        packages=_table(Package, data, "package"),
        images=_table(ImageEntry, data, "image"),
        tools=_table(Tool, data, "tool"),
        foreign=_table(Foreign, data, "foreign"),
        legacy={name: _legacy(name, entry, places) for name, entry in data.get("legacy", {}).items()},
    )
    _check_references(found)
    return found


def _wrong(where: str, what: str) -> VerifyError:
    return VerifyError(f"versions.lock.toml: {where}: {what}", hint="mend versions.lock.toml")


def _record(cls: type[T], where: str, values: Mapping[str, Any]) -> T:
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(fields)):
        raise _wrong(where, f"unknown key {unknown[0]!r}")
    try:
        return cls(**values)
    except TypeError as error:
        raise _wrong(where, str(error).partition("() ")[2]) from None


def _table(cls: type[T], data: Mapping[str, Any], table: str) -> dict[str, T]:
    return {
        name: _record(cls, f"{table}.{name}", {"name": name, **entry}) for name, entry in data.get(table, {}).items()
    }


def _sums(where: str, entry: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """Return the entry with its sums as a mapping and its place spelt out."""
    sums = entry.get("sha256")
    place = entry.get("place", "")
    if sums == UNRESOLVED:
        if place:
            raise _wrong(where, "it names a place, but no sum")
        return {**entry, "sha256": {}}
    if not isinstance(sums, dict) or not sums:
        raise _wrong(where, 'sha256 is neither "unresolved" nor a table of sums by architecture')
    for arch, value in sums.items():
        if arch not in _MACHINES or len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise _wrong(where, f"the sum for {arch!r} is not a SHA-256 of a known architecture")
    if not place:
        raise _wrong(where, "a sum without the place it was read from")
    return {**entry, "place": places.get(place, place)}


def _source(name: str, entry: Mapping[str, Any], places: Mapping[str, str]) -> Source:
    where = f"source.{name}"
    source = _record(Source, where, {"name": name, **_sums(where, entry, places)})
    if source.kind not in KINDS:
        raise _wrong(where, f"kind {source.kind!r} is none of {', '.join(KINDS)}")
    if source.kind in ("file", "archive") and not source.url:
        raise _wrong(where, f"a {source.kind} without a url")
    if not source.family and not source.sha256:
        raise _wrong(where, "it can be neither downloaded nor built")
    return source


def _legacy(name: str, entry: Mapping[str, Any], places: Mapping[str, str]) -> Legacy:
    where = f"legacy.{name}"
    return _record(Legacy, where, {"name": name, **_sums(where, entry, places)})


def _check_references(lock: Lock) -> None:
    tables: dict[str, Mapping[str, Package | ImageEntry | Tool]] = {
        "package": lock.packages,
        "image": lock.images,
        "tool": lock.tools,
    }
    for table, entries in tables.items():
        for entry in entries.values():
            if entry.source not in lock.sources:
                raise _wrong(f"{table}.{entry.name}", f"there is no source {entry.source!r}")
            if entry.group not in GROUPS:
                raise _wrong(f"{table}.{entry.name}", f"group {entry.group!r} is none of {', '.join(GROUPS)}")
