"""A node, from a bare machine to a control plane: the order of work, to be read aloud.

Each step also runs alone: ``pyinfra inventory/lab.py deploys.containerd.configure``.
"""

from deploys import (
    cni,
    containerd,
    git_server,
    images,
    kubeadm,
    kubernetes,
    meter,
    mirror,
    modules_sysctls,
    preflight,
    service_network,
    workload_images,
)

preflight.configure()
modules_sysctls.configure()
mirror.configure()
containerd.configure()
kubernetes.configure()
cni.configure()
service_network.configure()
images.configure()
kubeadm.configure()
# what follows needs no cluster, and goes on while the cluster's pods start
meter.configure()
git_server.configure()
workload_images.configure()
