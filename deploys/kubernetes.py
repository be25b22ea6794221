"""kubelet, kubeadm and kubectl, of one exact version."""

from io import StringIO

from pyinfra.operations import files

from deploys import software
from deploys.labdata import family, lab, step
from deploys.operations import units

DEFAULTS = {"debian": "/etc/default/kubelet", "el": "/etc/sysconfig/kubelet"}
"""Where the packages' units read further arguments."""


def defaults() -> str:
    """Return the file of the kubelet's arguments on this machine."""
    return DEFAULTS[family()]


@step("Kubernetes packages")
def configure() -> None:
    """Install and hold the packages; kubeadm starts the kubelet."""
    # as often as Prometheus asks: with the default of ten seconds, cAdvisor loses a pod's last CPU-seconds
    arguments = [f"--housekeeping-interval={lab().scrape_interval}", f"--node-ip={lab().node.address}"]
    files.put(
        name="Arguments of the kubelet",
        src=StringIO(f"KUBELET_EXTRA_ARGS={' '.join(arguments)}\n"),
        dest=defaults(),
        mode="644",
    )
    software.pinned("Packages", lab().packages.kubernetes)
    units.unit(name="Kubelet enabled", unit="kubelet.service", running=False)
