"""The host's firewall stays on: the cluster's networks are trusted, and two ports are open."""

from pyinfra import host

from deploys.labdata import lab, step
from deploys.operations import firewalld, network

POD_INTERFACES = ["cni0", "veth*"]


@step("Firewall")
def configure() -> None:
    """Let pods and services through firewalld, and keep NetworkManager from their interfaces.

    Without the first pods have no names (DNS); without the second NetworkManager takes routes away.
    """
    networks = lab().networks
    firewalld.allow(
        name="firewalld",
        trusted=[networks.pod_cidr, networks.service_cidr],
        # the API server, and the lab's repository
        ports=["6443/tcp", f"{host.data.get('git_port', 2222)}/tcp"],
    )
    network.unmanaged(name="NetworkManager", interfaces=POD_INTERFACES)
