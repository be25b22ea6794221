"""SELinux stays enforcing: folders get their labels before ``kubeadm init`` writes into them."""

from deploys import software
from deploys.labdata import family, own_kernel, step
from deploys.operations import selinux

LABELS = {
    # static pods run confined, and mount these from the host; the policy's own type for /etc/kubernetes is closed to
    # them, and kubeadm starts them from files that it has written a moment before
    "/etc/kubernetes(/.*)?": "container_file_t",
    "/var/lib/etcd(/.*)?": "container_file_t",
    # executables in a place that the policy does not know
    "/opt/cni/bin(/.*)?": "bin_t",
}


@step("SELinux")
def configure() -> None:
    """Add the labels; the mode stays what it is."""
    if own_kernel() and family() == "el":
        software.present("Policy of containers, and semanage", ["container-selinux", "policycoreutils-python-utils"])
        selinux.labels(name="Labels", labels=LABELS)
