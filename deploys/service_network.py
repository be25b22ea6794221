"""Addresses of services are refused at once until kube-proxy serves them.

Without this a pod that starts before kube-proxy has written its rules sends its first packets to a
service's address out of the node, where nothing answers: CoreDNS waits 30 s for the API server, and
all that needs names waits with it. A refused connection is tried again a second later.
"""

from pyinfra.operations import files

from deploys.labdata import lab, step
from deploys.operations import units

UNIT = "hardwatt-services.service"


@step("Service network")
def configure() -> None:
    """Write the unit that refuses what is not translated to a pod, and have it run before the kubelet."""
    files.template(
        name="Unit",
        src="templates/hardwatt-services.service.j2",
        dest=f"/etc/systemd/system/{UNIT}",
        mode="644",
        service_cidr=lab().networks.service_cidr,
    )
    units.unit(name="Rules", unit=UNIT)
