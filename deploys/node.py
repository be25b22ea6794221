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
)

preflight.configure()
modules_sysctls.configure()
mirror.configure()
containerd.configure()
kubernetes.configure()
cni.configure()
meter.configure()
git_server.configure()
images.configure()
kubeadm.configure()
