"""Begin the record of the host, from which ``invoke lab.down`` gives it back."""

from pyinfra.api import deploy
from pyinfra.operations import files

from deploys.labdata import lab
from deploys.modules_sysctls import SETTINGS
from deploys.operations import record

OTHERS_SETTINGS = [
    # kubelet
    "kernel.keys.root_maxbytes",
    "kernel.keys.root_maxkeys",
    "kernel.panic",
    "kernel.panic_on_oops",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
    # kube-proxy and the bridge plugin
    "net.ipv4.conf.all.route_localnet",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait",
    "net.netfilter.nf_conntrack_tcp_timeout_established",
]
"""Kernel settings that Kubernetes itself changes on a node."""
REPLACED = ["/etc/containerd/config.toml", "/etc/default/kubelet", "/etc/sysconfig/kubelet"]
"""Files that the deploys write over, and that may be the host's own."""


@deploy("Host record")
def configure() -> None:
    """Install what writes the record, and write down how things are before the first change."""
    files.put(name="What writes it", src="templates/note.sh", dest=record.NOTE, mode="755")
    record.start(
        name="Begun",
        lab=lab().name,
        settings=[*SETTINGS, *OTHERS_SETTINGS],
        files=REPLACED,
        users=["git"],
    )
