"""``kubeadm init``, gated by what is already there."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.kubeadm import ANSWER_SECONDS, DONE, LOCK, Answer, State
from deploys.operations import Commands

LOG = "/var/log/hardwatt/kubeadm-init.log"


@operation()
def init(config: str) -> Commands:
    """Make the control plane; never a second time, and never over one that was finished.

    A ``kubeadm init`` that was cut off goes on: every phase after its preflight takes what is there
    (certificates, kubeconfigs, manifests) or writes it anew. Where that fails, because a file was
    half written or the configuration is another one now, nothing that anybody could have used is
    lost: it is cleared away with ``kubeadm reset`` and made anew. One that goes on alone (its
    controller was killed) is waited for by the fact.

    + config: the kubeadm configuration on the node
    """
    state = host.get_fact(State)
    if state["done"]:
        host.noop("the control plane was made before")
        return
    if state["whole"]:
        yield _note()
        return
    lock = f"flock --wait 600 {LOCK}"
    yield f"mkdir -p {shlex.quote(LOG.rpartition('/')[0])}"
    # the output holds a join token, so it stays on the node, readable by root alone
    command = f"{lock} kubeadm init --skip-token-print --config {shlex.quote(config)}"
    whole = f"{command} >{LOG} 2>&1"
    if state["remains"] or state["admin"] or state["kubelet_conf"]:
        goes_on = f"{command} --skip-phases preflight >{LOG} 2>&1"
        reset = f"{lock} kubeadm reset --force --cri-socket unix:///run/containerd/containerd.sock"
        whole = f"{goes_on} || {{ {reset} && {whole}; }}"
    yield f"umask 077; {whole} || {{ tail -n 40 {LOG} >&2; false; }}"
    yield _note()


def _note() -> str:
    return f"touch {DONE}"


@operation()
def answering() -> Commands:
    """Fail where a control plane that was made before does not answer; change nothing."""
    answer = host.get_fact(Answer)
    if answer["ready"] or not answer["admin"]:
        host.noop("the API server answers" if answer["ready"] else "there is no control plane yet")
        return
    yield (
        f"echo 'the API server did not answer within {ANSWER_SECONDS} s; on the node, look at: "
        "journalctl -u kubelet; ctr -n k8s.io tasks list; ls /var/log/containers' >&2; false"
    )
