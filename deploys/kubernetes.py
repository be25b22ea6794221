"""kubelet, kubeadm and kubectl, of one exact version."""

from io import StringIO

from pyinfra.operations import files

from deploys import software
from deploys.labdata import family, lab, step
from deploys.operations import units

DEFAULTS = {"debian": "/etc/default/kubelet", "el": "/etc/sysconfig/kubelet"}
"""Where the packages' units read further arguments."""
KUBELETS_OWN_SECONDS = 10
"""The kubelet's own --housekeeping-interval. A shorter one costs the node processor time all day."""


def defaults() -> str:
    """Return the file of the kubelet's arguments on this machine."""
    return DEFAULTS[family()]


def _housekeeping(scrape_interval: str) -> list[str]:
    """Return the argument that makes cAdvisor read as often as it is scraped; none where the kubelet does by itself."""
    number = scrape_interval.rstrip("ms")
    every = int(number) * {"ms": 0.001, "s": 1, "m": 60}[scrape_interval.removeprefix(number)]
    return [f"--housekeeping-interval={scrape_interval}"] if every < KUBELETS_OWN_SECONDS else []


@step("Kubernetes packages")
def configure() -> None:
    """Install and hold the packages; kubeadm starts the kubelet."""
    arguments = [*_housekeeping(lab().scrape_interval), f"--node-ip={lab().node.address}"]
    files.put(
        name="Arguments of the kubelet",
        src=StringIO(f"KUBELET_EXTRA_ARGS={' '.join(arguments)}\n"),
        dest=defaults(),
        mode="644",
    )
    software.pinned("Packages", lab().packages.kubernetes)
    units.unit(name="Kubelet enabled", unit="kubelet.service", running=False)
