"""A node, from a bare machine to a control plane: the order of work, to be read aloud.

Each step also runs alone: ``pyinfra inventory/lab.py deploys.containerd.configure``.
"""

from deploys import cni, containerd, images, kubeadm, kubernetes, mirror, modules_sysctls, preflight

preflight.configure()
modules_sysctls.configure()
mirror.configure()
containerd.configure()
kubernetes.configure()
cni.configure()
images.configure()
kubeadm.configure()
