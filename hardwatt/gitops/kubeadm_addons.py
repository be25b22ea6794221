"""Addons of ``kubeadm init``, DNS and kube-proxy: scaled or created again where they lack."""

from collections.abc import Mapping

from hardwatt.cluster import client
from hardwatt.config.lab import Lab
from hardwatt.connect import sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.gitops import put_back, state
from hardwatt.gitops.readiness import KUBEADM, Key, Lack, Readiness

CONFIG = "/etc/hardwatt/kubeadm.yaml"
"""As deploys/kubeadm.py writes it."""
PHASE_TIMEOUT = 120.0


def restore(lab: Lab, endpoint: Endpoint, switched_off: Mapping[Key, str] | None = None) -> list[str]:
    """Put back what lacks of kubeadm's own; return what was done, as sentences. Raises ``LabError``."""
    with client.connect(lab) as api:
        lacks = _lacks(state.look(api, KUBEADM, switched_off))
        done = put_back.scale(api, tuple(lack for lack in lacks if lack.why == "scaled"))
    again = [lack for lack in lacks if lack.why != "scaled"]
    if again:
        with Ssh(endpoint) as ssh:
            for lack in again:
                addon = lack.item.name
                command = f"{sudo.prefix(endpoint)}kubeadm init phase addon {addon} --config {CONFIG}"
                ssh.run(command, timeout=PHASE_TIMEOUT)
                done.append(f"kubeadm made {lack.item} again (it {lack.before})")
    return done


def planned(lab: Lab, switched_off: Mapping[Key, str] | None = None) -> list[str]:
    """Return what ``restore`` would put back; changes nothing. Raises ``LabError``."""
    with client.connect(lab) as api:
        return [f"would be put back: {lack}" for lack in _lacks(state.look(api, KUBEADM, switched_off))]


def _lacks(readiness: Readiness) -> list[Lack]:
    return [lack for lack in readiness.of("scaled", "missing", "placed") if lack.item in KUBEADM]
