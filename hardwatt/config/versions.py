"""``versions.lock.toml``: the one place of versions, read into frozen records.

A checksum without its source, an unknown key, a reference to a missing source: each is refused when the file is
read, not when a download fails.
"""

import functools
import platform
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from hardwatt.core.errors import LabError, VerifyError

PATH = Path(__file__).resolve().parent.parent.parent / "versions.lock.toml"
UNRESOLVED = "unresolved"
Group = Literal["node", "gitops", "ci"]
Kind = Literal["file", "archive", "image", "own"]
Arch = Annotated[str, Field(pattern="^(amd64|arm64)$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
GROUPS = get_args(Group)
OPTIONAL = ("ci",)
"""Groups that are made only where somebody asks for them by name."""
SCHEMA = 1
ENTRIES = ("source", "package", "image", "tool", "foreign", "legacy")
"""Tables of named entries."""
_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_MACHINES = {"amd64": "x86_64", "arm64": "arm64"}  # as release archives are named that say x86_64


def machine_arch() -> str:
    """Return this machine's architecture in Go's words (``amd64``, ``arm64``).

    Raises ``LabError`` on another one.
    """
    machine = platform.machine()
    if machine not in _ARCHES:
        raise LabError(f"nothing is built for {machine} machines", hint="use a host over SSH: see lab.example.toml")
    return _ARCHES[machine]


def _resolved(sums: Any) -> Any:
    """Return the checksums by architecture; an unresolved entry has none."""
    if sums == UNRESOLVED:
        return {}
    if not isinstance(sums, dict) or not sums:
        raise ValueError('neither "unresolved" nor a table of SHA-256 checksums by architecture')
    return sums


Sums = Annotated[Mapping[Arch, Sha256], BeforeValidator(_resolved)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Download(_Entry):
    """Anything with checksums: each is kept with the document it was read from."""

    name: str
    version: str
    sha256: Sums
    """Architecture to hexadecimal SHA-256; empty where the lock says "unresolved"."""
    place: str = ""
    """Where the checksums were read."""

    @model_validator(mode="after")
    def _sums_have_a_place(self) -> Self:
        if self.place and not self.sha256:
            raise ValueError("a place without a checksum")
        if self.sha256 and not self.place:
            raise ValueError("a checksum without the place it was read from")
        return self


class Source(_Download):
    """Where a set of binaries comes from: a verified file of upstream's, or a build."""

    kind: Kind
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

    @model_validator(mode="after")
    def _obtainable(self) -> Self:
        if self.kind in ("file", "archive") and not self.url:
            raise ValueError(f"a {self.kind} without a url")
        if not self.family and not self.sha256:
            raise ValueError("it can be neither downloaded nor built")
        return self

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


class Package(_Entry):
    """A .deb made of a source's binaries, under upstream's name."""

    name: str
    group: Group
    source: str
    upstream: str


class ImageEntry(_Entry):
    """A container image made of a source's binaries, under upstream's name."""

    name: str
    group: Group
    source: str
    repository: str
    tag: str
    """Template of the tag, with {version}; a built one gets ``_lab.N`` behind it."""
    upstream: str
    """Upstream's own tag; empty where the image exists nowhere else."""
    digest: str


class Tool(_Entry):
    """A program that runs on the controller."""

    name: str
    group: Group
    source: str


class Foreign(_Entry):
    """An image that can be neither downloaded as a file nor built: it is imported, or left out."""

    name: str
    repository: str
    tag: str
    digest: str


class Legacy(_Download):
    """A binary of the legacy preset: upstream's packages only, never built."""

    url: str


class Lock(_Entry):
    """The whole lock."""

    go: str
    revision: int
    places: Mapping[str, str] = {}
    sources: Mapping[str, Source] = Field({}, alias="source")
    packages: Mapping[str, Package] = Field({}, alias="package")
    images: Mapping[str, ImageEntry] = Field({}, alias="image")
    tools: Mapping[str, Tool] = Field({}, alias="tool")
    foreign: Mapping[str, Foreign] = {}
    legacy: Mapping[str, Legacy] = {}

    @model_validator(mode="after")
    def _sources_exist(self) -> Self:
        tables: dict[str, Mapping[str, Package | ImageEntry | Tool]] = {
            "package": self.packages,
            "image": self.images,
            "tool": self.tools,
        }
        for table, entries in tables.items():
            for entry in entries.values():
                if entry.source not in self.sources:
                    raise ValueError(f"{table}.{entry.name}: there is no source {entry.source!r}")
        return self

    def package_version(self, name: str) -> str:
        """Return the version of a package made here, as in ``1.36.3+lab.1``."""
        return f"{self.sources[self.packages[name].source].version}+lab.{self.revision}"

    def image_tag(self, name: str) -> str:
        """Return the tag of an image made here, as in ``v1.36.3_lab.1``."""
        entry = self.images[name]
        return f"{entry.tag.format(version=self.sources[entry.source].version)}_lab.{self.revision}"

    def repository(self, short: str) -> str:
        """Return the repository of an image of the lock by its last name part; empty where there is none."""
        known = [entry.repository for entry in self.images.values()]
        known += [entry.repository for entry in self.foreign.values()]
        return next((name for name in known if name.rpartition("/")[2] == short), "")

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
    """Turn the parsed file into a ``Lock``. Raises ``VerifyError`` naming each wrong entry."""
    if data.get("schema") != SCHEMA:
        raise _wrong(f"the file: schema {data.get('schema')!r}, but this toolkit reads {SCHEMA}")
    try:
        return Lock.model_validate({key: _named(key, value, data) for key, value in data.items() if key != "schema"})
    except ValidationError as error:
        raise _wrong("; ".join(_problem(item) for item in error.errors(include_url=False))) from None


def _named(table: str, value: Any, data: Mapping[str, Any]) -> Any:
    """Return a table whose entries carry their names and their places spelt out; anything else as it is."""
    if table not in ENTRIES or not isinstance(value, dict):
        return value
    places = data.get("places")
    named = {}
    for name, entry in value.items():
        if not isinstance(entry, dict):
            raise _wrong(f"{table}.{name}: not a table")
        if "name" in entry:
            raise _wrong(f"{table}.{name}: unknown key 'name'")
        named[name] = {**entry, "name": name}
        place = entry.get("place")
        if isinstance(places, dict) and isinstance(place, str):
            named[name] |= {"place": places.get(place, place)}
    return named


def _problem(item: Any) -> str:
    path = [str(part) for part in item["loc"]]
    if item["type"] == "extra_forbidden":
        return f"{'.'.join(path[:-1]) or 'the file'}: unknown key {path[-1]!r}"
    return f"{'.'.join(path) or 'the file'}: {item['msg'].removeprefix('Value error, ')}"


def _wrong(what: str) -> VerifyError:
    return VerifyError(f"versions.lock.toml: {what}", hint="mend versions.lock.toml")
