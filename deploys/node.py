"""A node, from a bare machine to a control plane: the order of work, to be read aloud.

Each step also runs alone: ``pyinfra inventory/lab.py deploys.containerd.configure``.
"""

import importlib

STEPS = (
    "preflight",
    "host_record",
    "boot_arguments",
    "kernel_headers",
    "reboot",
    # what follows is done when no reboot is needed (any more)
    "modules_sysctls",
    "swap",
    "firewall",
    "mirror",
    "containerd",
    "selinux",
    "kubernetes",
    "cni",
    "service_network",
    "images",
    # unpacked while the node is idle: beside a living cluster a slow processor takes many times as long
    "workload_images",
    "kubeadm",
    # what follows needs no cluster, and goes on while the cluster's pods start
    "meter",
    "git_server",
)
"""The steps in their order: each is a module of ``deploys`` with one ``configure()``."""


def configure() -> None:
    """Do every step, in order, on the current host."""
    # imported here: who only reads the list needs no pyinfra, which changes the process it is imported into
    from pyinfra import host

    for step in host.loop(STEPS):  # type: ignore[no-untyped-call] # it gives each turn its own place
        importlib.import_module(f"deploys.{step}").configure()


# pyinfra executes this file under no name of its own; an import only reads the list
if __name__ != "deploys.node":
    configure()
