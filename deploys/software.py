"""Packages by the manager that the machine has: apt or dnf."""

from deploys.labdata import family, lab, system
from deploys.mirror import REPOSITORY, SOURCES, upstream_repositories
from deploys.operations import packages, rpm


def pinned(name: str, versions: dict[str, str]) -> None:
    """Have packages of the lab's mirror, or of upstream, in exactly these versions, whatever upgrades come."""
    apt_source, yum_name = SOURCES, REPOSITORY
    if lab().upstream:
        repository = next(
            repository for repository in upstream_repositories() if set(versions) & set(repository.packages)
        )
        apt_source, yum_name = repository.apt_file, f"hardwatt-{repository.name}"
    if family() == "el":
        rpm.pinned(name=name, packages=versions, repository=yum_name, arch=system()["arch"])
    else:
        packages.pinned(name=name, packages=versions, source=apt_source)


def present(name: str, names: list[str]) -> None:
    """Have these packages of the distribution in whatever version it has."""
    if family() == "el":
        rpm.present(name=name, names=names)
    else:
        packages.present(name=name, names=names)
