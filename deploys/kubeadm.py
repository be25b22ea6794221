"""The control plane."""

from typing import Any

from pyinfra import host
from pyinfra.operations import files

from deploys.facts.kernel import Settings
from deploys.facts.kubeadm import CONFIG
from deploys.kubernetes import defaults
from deploys.labdata import cgroup, lab, step, system
from deploys.operations import kubeadm, units

CONNTRACK = "net.netfilter.nf_conntrack_max"
KUBEADM_MEMORY_MIB = 1700
"""What kubeadm asks for (kubeadm's constants.ControlPlaneMem)."""


def choices(preset: str, machine: dict[str, Any], groups: dict[str, Any], conntrack: bool) -> dict[str, Any]:
    """Return what the kubeadm configuration says about this very machine.

    + machine, groups: the facts ``System`` and ``Cgroup``
    + conntrack: whether the table's size may be set here
    """
    embedded = preset == "embedded"
    ignored = []
    if embedded and (groups["version"] == 1 or machine["virtualization"] == "systemd-nspawn"):
        # it also wants the host's kernel configuration; deploys/checks.py looks at what matters
        ignored.append("SystemVerification")
    if embedded and machine["memory_mib"] < KUBEADM_MEMORY_MIB:
        ignored.append("Mem")
    if embedded and machine["swap_mib"]:
        ignored.append("Swap")
    return {
        "ignored": ignored,
        "cgroup_driver": groups["driver"],
        "fail_cgroup_v1": groups["version"] != 1 or preset == "supported",
        "fail_swap": not (embedded and machine["swap_mib"]),
        "conntrack": conntrack,
    }


@step("Control plane")
def configure() -> None:
    """Run ``kubeadm init`` once, and have the kubelet run with the files that are there."""
    data = lab()
    conntrack = host.get_fact(Settings, names=[CONNTRACK])[CONNTRACK]
    files.template(
        name="Configuration",
        src="templates/kubeadm.yaml.j2",
        dest=CONFIG,
        mode="600",
        lab=data,
        **choices(
            data.preset,
            system(),
            cgroup(),
            # where the module is not loaded yet, a machine with a kernel of its own may set it later
            conntrack=conntrack["writable"] or (conntrack["value"] is None and data.preset != "embedded"),
        ),
    )
    kubeadm.init(name="kubeadm init", config=CONFIG)
    units.unit(name="Kubelet", unit="kubelet.service", files=[defaults()])
    kubeadm.answering(name="API server answers")
