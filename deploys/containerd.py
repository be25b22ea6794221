"""containerd, configured for what this node may do."""

from pyinfra.operations import files

from deploys.labdata import cgroup, lab, step, system
from deploys.mirror import CERTS, SOURCES
from deploys.operations import packages, units

CONFIG = "/etc/containerd/config.toml"


@step("containerd")
def configure() -> None:
    """Install containerd and what it calls, configure it and have it run."""
    packages.present(name="Packages of the distribution", names=lab()["distribution_packages"])
    files.template(
        name="Configuration",
        src="templates/containerd.toml.j2",
        dest=CONFIG,
        mode="644",
        certs=CERTS,
        pause=lab()["pause"],
        systemd_cgroup=cgroup()["driver"] == "systemd",
        # a process without this capability cannot lower its oom_score_adj, and runc would fail
        restrict_oom="sys_resource" in system()["missing_capabilities"],
    )
    packages.pinned(name="Package", packages=lab()["packages"]["containerd"], source=SOURCES)
    units.unit(name="Service", unit="containerd.service", files=[CONFIG])
