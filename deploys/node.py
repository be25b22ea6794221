"""A node, from a bare machine to a control plane: the order of work, to be read aloud.

Each step also runs alone: ``pyinfra inventory/lab.py deploys.containerd.configure``.
"""

from deploys import (
    boot_arguments,
    cni,
    containerd,
    firewall,
    git_server,
    host_record,
    images,
    kernel_headers,
    kubeadm,
    kubernetes,
    meter,
    mirror,
    modules_sysctls,
    preflight,
    reboot,
    selinux,
    service_network,
    swap,
    workload_images,
)

preflight.configure()
host_record.configure()
boot_arguments.configure()
kernel_headers.configure()
reboot.configure()
# what follows is done when no reboot is needed (any more)
modules_sysctls.configure()
swap.configure()
firewall.configure()
mirror.configure()
containerd.configure()
selinux.configure()
kubernetes.configure()
cni.configure()
service_network.configure()
images.configure()
# unpacked while the node is idle: beside a living cluster a slow processor takes many times as long
workload_images.configure()
kubeadm.configure()
# what follows needs no cluster, and goes on while the cluster's pods start
meter.configure()
git_server.configure()
