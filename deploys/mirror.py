"""Where the node's packages and images come from: one signed source, one hosts.toml a registry."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import files

from deploys.labdata import family, lab, step
from deploys.operations import rpm

SOURCES = "/etc/apt/sources.list.d/hardwatt.sources"
KEY = "/etc/apt/keyrings/hardwatt.asc"
REPOSITORY = "hardwatt"
"""What dnf calls the lab's repository."""
YUM_FILE = f"/etc/yum.repos.d/{REPOSITORY}.repo"
YUM_KEY = "/etc/pki/rpm-gpg/RPM-GPG-KEY-hardwatt"
CERTS = "/etc/containerd/certs.d"


@step("Sources of packages and images")
def configure() -> None:
    """Write the package source with its key, and the mirror of each registry."""
    if lab()["repository"]:
        _yum() if family() == "el" else _apt()
    registries = sorted(lab()["registries"].items())
    for registry, source in host.loop(registries):  # type: ignore[no-untyped-call] # it gives each turn its own place
        files.template(
            name=f"Registry {registry}",
            src="templates/hosts.toml.j2",
            dest=f"{CERTS}/{registry}/hosts.toml",
            mode="644",
            registry=registry,
            source=source,
        )


def _apt() -> None:
    repository = lab()["repository"]
    files.put(name="Key of the package source", src=StringIO(repository["key"]), dest=KEY, mode="644")
    files.template(
        name="Package source",
        src="templates/hardwatt.sources.j2",
        dest=SOURCES,
        mode="644",
        key=KEY,
        repository=repository,
    )


def _yum() -> None:
    repository = lab()["repository"]
    rpm.key(
        name="Key of the package source",
        content=repository["key"],
        path=YUM_KEY,
        fingerprint=repository["fingerprint"],
    )
    files.template(
        name="Package source",
        src="templates/hardwatt.repo.j2",
        dest=YUM_FILE,
        mode="644",
        identifier=REPOSITORY,
        key=YUM_KEY,
        repository=repository,
        names=sorted(name for group in lab()["packages"].values() for name in group),
    )
