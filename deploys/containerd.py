"""containerd, configured for what this node may do."""

from pyinfra.operations import files

from deploys import software
from deploys.labdata import cgroup, confined, lab, step, system
from deploys.mirror import CERTS
from deploys.operations import units

CONFIG = "/etc/containerd/config.toml"


@step("containerd")
def configure() -> None:
    """Install containerd and what it calls, configure it and have it run."""
    software.present("Packages of the distribution", list(lab().distribution_packages))
    files.template(
        name="Configuration",
        src="templates/containerd.toml.j2",
        dest=CONFIG,
        mode="644",
        certs=CERTS,
        pause=lab().pause,
        systemd_cgroup=cgroup()["driver"] == "systemd",
        # the policy of containers is the distribution's, and installed before containerd starts
        enable_selinux=confined(),
        # a process without this capability cannot lower its oom_score_adj, and runc would fail
        restrict_oom="sys_resource" in system()["missing_capabilities"],
    )
    software.pinned("Package", lab().packages.containerd)
    units.unit(name="Service", unit="containerd.service", files=[CONFIG])
