"""Where the node's packages and images come from: one signed source, one hosts.toml a registry."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import files

from deploys.labdata import lab, step

SOURCES = "/etc/apt/sources.list.d/hardwatt.sources"
KEY = "/etc/apt/keyrings/hardwatt.asc"
CERTS = "/etc/containerd/certs.d"


@step("Sources of packages and images")
def configure() -> None:
    """Write the package source with its key, and the mirror of each registry."""
    packages = lab()["repository"]
    if packages:
        files.put(name="Key of the package source", src=StringIO(packages["key"]), dest=KEY, mode="644")
        files.template(
            name="Package source",
            src="templates/hardwatt.sources.j2",
            dest=SOURCES,
            mode="644",
            key=KEY,
            repository=packages,
        )
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
