"""The control plane."""

from typing import Any

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.operations import files

from deploys.facts.cgroup import Cgroup
from deploys.facts.kernel import Settings
from deploys.facts.kubeadm import CONFIG
from deploys.facts.system import System
from deploys.kubernetes import DEFAULTS
from deploys.labdata import lab
from deploys.operations import kubeadm, units

CONNTRACK = "net.netfilter.nf_conntrack_max"
KUBEADM_MEMORY_MIB = 1700
"""What kubeadm asks for (kubeadm's constants.ControlPlaneMem)."""


def facts_for_template(preset: str, system: dict[str, Any], cgroup: dict[str, Any], conntrack: bool) -> dict[str, Any]:
    """Return what the kubeadm configuration says about this very machine.

    + conntrack: whether the table's size may be set here
    """
    embedded = preset == "embedded"
    ignored = []
    if embedded and (cgroup["version"] == 1 or system["virtualization"] == "systemd-nspawn"):
        # it also wants the host's kernel configuration; deploys/checks.py looks at what matters
        ignored.append("SystemVerification")
    if embedded and system["memory_mib"] < KUBEADM_MEMORY_MIB:
        ignored.append("Mem")
    if embedded and system["swap_mib"]:
        ignored.append("Swap")
    return {
        "ignored": ignored,
        "cgroup_driver": cgroup["driver"],
        "fail_cgroup_v1": cgroup["version"] != 1 or preset == "supported",
        "fail_swap": not (embedded and system["swap_mib"]),
        "conntrack": conntrack,
    }


@deploy("Control plane")
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
        **facts_for_template(
            data["preset"],
            host.get_fact(System),
            host.get_fact(Cgroup),
            # where the module is not loaded yet, a machine with a kernel of its own may set it later
            conntrack=conntrack["writable"] or (conntrack["value"] is None and data["preset"] != "embedded"),
        ),
    )
    kubeadm.init(name="kubeadm init", config=CONFIG)
    units.unit(name="Kubelet", unit="kubelet.service", files=[DEFAULTS])
    kubeadm.answering(name="API server answers")
