"""The pod network of a single node: the reference plugins bridge, host-local and portmap."""

from pyinfra.operations import files

from deploys.labdata import lab, step

CONFLIST = "/etc/cni/net.d/10-hardwatt.conflist"


@step("Pod network")
def configure() -> None:
    """Write the network's configuration; containerd reads it by itself."""
    files.template(
        name="Bridge",
        src="templates/cni.conflist.j2",
        dest=CONFLIST,
        mode="644",
        subnet=lab().networks.node_pod_cidr,
    )
