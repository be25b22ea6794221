"""Sources of the node's packages and images: one signed source, one hosts.toml a registry."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import files

from deploys.contract import AptRepository, RpmRepository
from deploys.labdata import family, lab, step, system
from deploys.operations import download, packages, rpm
from deploys.repositories import Repository, upstream

SOURCES = "/etc/apt/sources.list.d/hardwatt.sources"
KEY = "/etc/apt/keyrings/hardwatt.asc"
REPOSITORY = "hardwatt"
"""What dnf calls the lab's repository."""
YUM_FILE = f"/etc/yum.repos.d/{REPOSITORY}.repo"
YUM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-hardwatt"
CERTS = "/etc/containerd/certs.d"
"""containerd's own folder of registries: whatever it names holds for every pull of kubelet's, for good."""
REGISTRIES = "/etc/hardwatt/registries"
"""Folder of the registries that the mirror stands in for: read by the pulls of a run alone, each by its digest."""


@step("Sources of packages and images")
def configure() -> None:
    """Write the package source with its key, and the mirror of each registry, which serves this run alone."""
    repository = lab().repository
    if isinstance(repository, RpmRepository):
        _yum(repository)
    elif repository:
        _apt(repository)
    elif lab().upstream:
        _upstream()
    registries = sorted(lab().registries.items())
    for registry, source in host.loop(registries):  # type: ignore[no-untyped-call] # it gives each turn its own place
        files.template(
            name=f"Registry {registry}",
            src="templates/hosts.toml.j2",
            dest=f"{REGISTRIES}/{registry}/hosts.toml",
            mode="644",
            registry=registry,
            source=source,
        )
        # an older version named the mirror there, which answers nobody between two runs
        files.file(name=f"No mirror of {registry} for kubelet", path=f"{CERTS}/{registry}/hosts.toml", present=False)


def upstream_repositories() -> list[Repository]:
    """Return upstream's repositories as this machine uses them; none where the lab's mirror stands in for them."""
    wanted = lab().upstream
    if wanted is None:
        return []
    return [upstream(name, wanted.minor, family(), system(), wanted.base) for name in ("kubernetes", "docker")]


def _upstream() -> None:
    """Write upstream's repositories, each with its one key, whose fingerprint is pinned."""
    fetch = ["ca-certificates", "curl", "gnupg2" if family() == "el" else "gnupg"]
    (rpm if family() == "el" else packages).present(name="What fetches and checks keys", names=fetch)
    for repository in host.loop(upstream_repositories()):  # type: ignore[no-untyped-call] # it gives each turn its own place
        key = repository.yum_key if family() == "el" else repository.apt_key
        download.verified(
            name=f"Key of {repository.name}", url=repository.key_url, dest=key, fingerprint=repository.fingerprint
        )
        files.template(
            name=f"Package source {repository.name}",
            src="templates/upstream.repo.j2" if family() == "el" else "templates/upstream.sources.j2",
            dest=repository.yum_file if family() == "el" else repository.apt_file,
            mode="644",
            repository=repository,
        )


def _apt(repository: AptRepository) -> None:
    files.put(name="Key of the package source", src=StringIO(repository.key), dest=KEY, mode="644")
    files.template(
        name="Package source",
        src="templates/hardwatt.sources.j2",
        dest=SOURCES,
        mode="644",
        key=KEY,
        repository=repository,
    )


def _yum(repository: RpmRepository) -> None:
    rpm.key(
        name="Key of the package source",
        content=repository.key,
        path=YUM_KEY,
        fingerprint=repository.fingerprint,
    )
    files.template(
        name="Package source",
        src="templates/hardwatt.repo.j2",
        dest=YUM_FILE,
        mode="644",
        identifier=REPOSITORY,
        key=YUM_KEY,
        repository=repository,
        names=sorted(lab().pins),
    )
