"""Upstream's package repositories, for the machine at hand."""

import dataclasses
import datetime
import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploys.labdata import el_release

FILE = Path(__file__).with_name("repositories.toml")


@dataclasses.dataclass(frozen=True)
class Repository:
    """One repository of upstream's, as one machine uses it."""

    name: str
    url: str
    key_url: str
    fingerprint: str
    packages: tuple[str, ...]
    suite: str = ""
    components: str = ""

    @property
    def apt_file(self) -> str:
        """The source file of apt."""
        return f"/etc/apt/sources.list.d/hardwatt-{self.name}.sources"

    @property
    def apt_key(self) -> str:
        """Return the path at which apt finds the key."""
        return f"/etc/apt/keyrings/hardwatt-{self.name}.asc"

    @property
    def yum_file(self) -> str:
        """The repository file of dnf."""
        return f"/etc/yum.repos.d/hardwatt-{self.name}.repo"

    @property
    def yum_key(self) -> str:
        """Return the path at which dnf finds the key."""
        return f"/etc/pki/rpm-gpg/RPM-GPG-KEY-hardwatt-{self.name}"


def key_ends() -> dict[str, datetime.date]:
    """Return the last day of each repository's key, of those that have one."""
    return {name: entry["ends"] for name, entry in table().items() if "ends" in entry}


@functools.cache
def table() -> dict[str, Any]:
    """Return the whole file."""
    return tomllib.loads(FILE.read_text())


def upstream(name: str, minor: str, family: str, machine: Mapping[str, Any], base: str = "") -> Repository:
    """Return the repository ``kubernetes`` or ``docker`` for a machine with this fact ``System``.

    ``base`` stands in for upstream's hosts: ``https://HOST/PATH`` becomes ``BASE/HOST/PATH``.
    """
    entry = table()[name]
    of = entry[family]
    words = {
        "minor": minor,
        "os": "ubuntu" if "ubuntu" in (machine["os"], *machine["os_like"]) else "debian",
        "codename": machine["codename"],
        "major": el_release(dict(machine)).partition(".")[0],
    }

    def fill(text: str) -> str:
        filled = text.format(**words)
        return filled.replace("https://", base.rstrip("/") + "/", 1) if base else filled

    return Repository(
        name=name,
        url=fill(of["url"]),
        key_url=fill(of["key"]),
        fingerprint=of.get("fingerprint") or entry["fingerprint"],
        packages=tuple(entry["packages"]),
        suite=of.get("suite", "").format(**words),
        components=of.get("components", ""),
    )
