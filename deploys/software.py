"""Packages by the manager that the machine has: apt or dnf."""

from deploys.labdata import family, system
from deploys.mirror import REPOSITORY, SOURCES
from deploys.operations import packages, rpm


def pinned(name: str, versions: dict[str, str]) -> None:
    """Have these packages of the lab's repository in exactly these versions, whatever upgrades come."""
    if family() == "el":
        rpm.pinned(name=name, packages=versions, repository=REPOSITORY, arch=system()["arch"])
    else:
        packages.pinned(name=name, packages=versions, source=SOURCES)


def present(name: str, names: list[str]) -> None:
    """Have these packages of the distribution in whatever version it has."""
    if family() == "el":
        rpm.present(name=name, names=names)
    else:
        packages.present(name=name, names=names)
