"""Families of programs that the lab builds from Go modules, read as data.

A family is a folder of ``hardwatt/mirror/build/go``: ``family.toml`` says what to build, ``go.mod`` and
``go.sum`` pin every module by checksum, and a family may hold Go files of its own.
"""

import dataclasses
import hashlib
import json
import platform
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.core.errors import LabError

GO_VERSION = "1.26.6"
"""The one Go that builds; pyproject.toml pins the wheel of it."""

ROOT = Path(__file__).parent / "go"

_EDITION = 2
"""Raised when the way of building changes, so that what was built the old way is built again."""

_NOT_IN_KEY = frozenset({"expected_seconds", "order"})
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclasses.dataclass(frozen=True)
class Family:
    """Programs that are built together, with one set of module versions."""

    name: str
    folder: Path
    version: str
    """Upstream's version without a leading v."""
    modules: Mapping[str, str]
    """Module path to version, as go.mod requires it; empty where the source is our own."""
    binaries: Mapping[str, str]
    """Name of the program to its package (or, with the recipe ``c``, its source file)."""
    recipe: str = "go"
    """One of the recipes of ``hardwatt.mirror.build.go_recipes``."""
    tags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    cflags: tuple[str, ...] = ()
    node: str = ""
    """Version of the Node that makes its web pages; only the recipe ``go-with-pages`` needs one."""
    depends: tuple[str, ...] = ()
    """Families whose programs or sources this one is made with."""
    unlisted: tuple[str, ...] = ()
    """Modules that the checksum database does not list; only resolving go.sum looks at this."""
    expected_seconds: int = 0
    """On two idle cores, each after the ones before it in ``families()``, which share modules with it."""
    order: int = 0
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    """The parsed family.toml."""


def families(root: Path = ROOT) -> list[str]:
    """Return the names of all families, what a node needs first in front."""
    loaded = [read_family(file.parent.name, root) for file in root.glob("*/family.toml")]
    return [family.name for family in sorted(loaded, key=lambda family: (family.order, family.name))]


def read_family(name: str, root: Path = ROOT) -> Family:
    """Read one family.

    Raises ``LabError`` for an unknown family and for a family.toml that says what nothing reads.
    """
    folder = root / name
    try:
        data = tomllib.loads((folder / "family.toml").read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(file.parent.name for file in root.glob("*/family.toml")))
        raise LabError(f"there is no family {name!r}", hint=f"one of: {known}") from None
    except tomllib.TOMLDecodeError as error:
        raise LabError(f"{folder}/family.toml is not TOML: {error}", hint="git diff") from error
    return _parse(name, folder, data)


def _parse(name: str, folder: Path, data: Mapping[str, Any]) -> Family:
    fields = {field.name for field in dataclasses.fields(Family)} - {"name", "folder", "data"}
    if unknown := sorted(data.keys() - fields):
        raise LabError(
            f"{folder}/family.toml: unknown {', '.join(unknown)}",
            hint=f"known are: {', '.join(sorted(fields))}",
        )
    if missing := sorted({"version", "binaries", "modules"} - data.keys()):
        raise LabError(f"{folder}/family.toml: {', '.join(missing)} is missing", hint="add it")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
    values["modules"] = {path: _required(folder / "go.mod", path) for path in data["modules"]}
    return Family(name=name, folder=folder, data=data, **values)


def _required(gomod: Path, module: str) -> str:
    """Return the version at which go.mod requires a module."""
    requirement = re.search(rf"^(?:require|\t)\s*{re.escape(module)} (\S+)", gomod.read_text(), re.MULTILINE)
    if not requirement:
        raise LabError(f"{gomod} does not require {module}", hint="git diff")
    return requirement[1]


def architecture() -> str:
    """Return Go's name of this machine's architecture."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise LabError(f"nothing is built for {machine}", hint=f"use one of: {', '.join(_ARCHITECTURES)}")
    return _ARCHITECTURES[machine]


def key(family: Family, arch: str, *, go: str = GO_VERSION) -> str:
    """Return the SHA-256 of all that decides what a build of the family gives.

    That is every file of its folder, the version of Go, the architecture, and the keys of the
    families that it is made with. How long it takes and when it is built is not part of it.
    """
    told = {name: value for name, value in family.data.items() if name not in _NOT_IN_KEY}
    parts: list[Any] = [_EDITION, go, arch, told]
    for file in sorted(family.folder.rglob("*")):
        inside = file.relative_to(family.folder).as_posix()
        if file.is_file() and inside != "family.toml" and not inside.startswith("."):
            parts.append([inside, hashlib.sha256(file.read_bytes()).hexdigest()])
    parts += [key(read_family(name, family.folder.parent), arch, go=go) for name in family.depends]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
