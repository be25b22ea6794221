"""Progress of ``kubeadm init`` on this node."""

from collections.abc import Iterable

from pyinfra.api import FactBase

from deploys.facts import pairs

LOCK = "/etc/hardwatt/kubeadm.lock"
"""Made with umask 077 in a folder of root's: nobody else can hold it."""
"""Held on the node by a running ``kubeadm init``, which goes on when the controller is killed."""
DONE = "/etc/hardwatt/kubeadm.done"
"""Written after a whole ``kubeadm init``: from then on nothing here ever resets the node."""
CONFIG = "/etc/hardwatt/kubeadm.yaml"
ADMIN = "/etc/kubernetes/admin.conf"

ANSWER_SECONDS = 120
"""Seconds that an API server that was there before gets to come back (the node may just have started)."""

_KUBECTL = f"kubectl --kubeconfig {ADMIN} --request-timeout=5s"

# The first line is always printed: pyinfra takes an empty answer for "no answer".
_STATE = f""": facts.kubeadm
echo read=yes
test -e {LOCK} && flock --wait 600 {LOCK} true
test -e {ADMIN} && echo admin=yes
test -e /etc/kubernetes/kubelet.conf && echo kubelet_conf=yes
test -e {CONFIG} && echo config=yes
test -n "$(ls /etc/kubernetes/manifests /var/lib/etcd 2>/dev/null)" && echo remains=yes
if test -e {DONE}; then echo done=yes
elif test -e {ADMIN} && {_KUBECTL} --namespace kube-system get configmap/kubeadm-config configmap/kubelet-config \\
  daemonset/kube-proxy deployment/coredns --output name >/dev/null 2>&1; then echo whole=yes
fi
"""


class State(FactBase[dict[str, bool]]):
    """Return what of a cluster is on the node, once a running ``kubeadm init`` has ended.

    ``done``: an earlier run finished; ``whole``: all that ``kubeadm init`` makes is there although
    nobody noted it; ``remains``: manifests or etcd data; ``config``: it is a lab's cluster.
    """

    def command(self) -> str:
        return _STATE

    def process(self, output: Iterable[str]) -> dict[str, bool]:
        values = pairs(output)
        return {
            name: values.get(name) == "yes" for name in ("admin", "kubelet_conf", "config", "remains", "done", "whole")
        }


_ANSWER = f""": facts.answer
echo read=yes
if test -e {ADMIN}; then
  echo admin=yes
  tries={ANSWER_SECONDS}
  until {_KUBECTL} get --raw /readyz >/dev/null 2>&1 && echo ready=yes; do
    tries=$((tries - 1))
    test $tries -gt 0 || break
    sleep 1
  done
fi
"""


class Answer(FactBase[dict[str, bool]]):
    """Return ``admin`` (there is a control plane) and ``ready`` (it answers, after some patience)."""

    def command(self) -> str:
        return _ANSWER

    def process(self, output: Iterable[str]) -> dict[str, bool]:
        values = pairs(output)
        return {name: values.get(name) == "yes" for name in ("admin", "ready")}


MADE_WITH = {"pod_cidr": "podSubnet", "service_cidr": "serviceSubnet", "kubernetes_version": "kubernetesVersion"}
"""What cannot be changed in a cluster by writing another configuration, by its key there."""


class MadeWith(FactBase[dict[str, str]]):
    """Return what the cluster on the node was made with; empty where there is none."""

    default = dict

    def command(self) -> str:
        lines = [f"echo {name}=$(sed -n 's/^ *{key}: *//p' {CONFIG})" for name, key in MADE_WITH.items()]
        return "\n".join([": facts.madewith", f"if test -e {DONE}; then", *lines, "fi"])

    def process(self, output: Iterable[str]) -> dict[str, str]:
        return pairs(output)
