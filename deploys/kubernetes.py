"""kubelet, kubeadm and kubectl, of one exact version."""

from io import StringIO

from pyinfra.operations import files

from deploys.labdata import lab, step
from deploys.mirror import SOURCES
from deploys.operations import packages, units

DEFAULTS = "/etc/default/kubelet"


@step("Kubernetes packages")
def configure() -> None:
    """Install and hold the packages; kubeadm starts the kubelet."""
    # one second: with the default of ten, cAdvisor loses the last CPU-seconds of a pod that ends
    arguments = ["--housekeeping-interval=1s", f"--node-ip={lab()['node']['address']}"]
    files.put(
        name="Arguments of the kubelet",
        src=StringIO(f"KUBELET_EXTRA_ARGS={' '.join(arguments)}\n"),
        dest=DEFAULTS,
        mode="644",
    )
    packages.pinned(name="Packages", packages=lab()["packages"]["kubernetes"], source=SOURCES)
    units.unit(name="Kubelet enabled", unit="kubelet.service", running=False)
