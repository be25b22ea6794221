"""Readiness of the lab's objects: desired against actual, suspensions on purpose named; ``lifecycle.up`` decides."""

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from kubernetes import client as kubernetes

from hardwatt.gitops import flux
from hardwatt.gitops.desired import FLUX_KINDS, REPLICATED, WORKLOADS, Item
from hardwatt.gitops.desired_flux import COMPONENTS
from hardwatt.gitops.flux import KUSTOMIZE, NAMESPACE, SOURCE

Key = tuple[str, str, str]
"""Kind, namespace and name."""
SYSTEM = "kube-system"
KUBEADM = (
    Item("Deployment", SYSTEM, "coredns", replicas=2),
    Item("DaemonSet", SYSTEM, "kube-proxy", node_selector={"kubernetes.io/os": "linux"}),
)
"""What ``kubeadm init`` puts into every cluster (two replicas: its addons/dns)."""
STATIC = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Pods of a control plane that kubelet starts from files."""
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
ROOT: tuple[Key, ...] = tuple((kind, NAMESPACE, NAMESPACE) for kind in FLUX_KINDS)
FLUX = (
    Item("Namespace", "", NAMESPACE),
    *(Item(*key) for key in ROOT),
    *(Item("Deployment", NAMESPACE, name, NAMESPACE) for name in COMPONENTS),
)
"""What Flux needs, whatever git holds."""
Why = Literal["missing", "deleting", "scaled", "placed", "late", "not ready"]


@dataclasses.dataclass(frozen=True)
class Workload:
    """A workload as the API server reports it."""

    wanted: int
    """Replicas that its specification asks for now; nodes that a DaemonSet chooses."""
    ready: int
    node_selector: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class FluxObject:
    """A GitRepository or Kustomization as the API server reports it."""

    suspended: bool = False
    deleting: bool = False
    failed: str = ""
    """Reason that it is not Ready; empty where it is, or where Flux has said nothing yet."""
    working: bool = False
    """Flux is at it: ready or not is not known yet."""


@dataclasses.dataclass(frozen=True)
class Live:
    """Objects of the cluster."""

    workloads: Mapping[Key, Workload]
    flux: Mapping[Key, FluxObject]
    namespaces: Mapping[str, bool]
    """Name to whether it is being deleted."""
    nodes: Mapping[str, Mapping[str, str]]
    """Name to labels."""
    system_pods: frozenset[str] = frozenset()
    """Names of the pods in kube-system."""


@dataclasses.dataclass(frozen=True)
class Lack:
    """One object that is not as it should be."""

    item: Item
    why: Why
    text: str
    left: str = ""
    """Why lab.up leaves it so: somebody's own choice; empty: it is put back."""

    @property
    def before(self) -> str:
        """Return the text, told after it was put back."""
        return re.sub(r"^is ", "was ", self.text)

    def __str__(self) -> str:
        return f"{self.item} {self.text}" + (f"; {self.left}" if self.left else "")


@dataclasses.dataclass(frozen=True)
class Readiness:
    """Objects that are not as they should be, and objects of Flux that a user suspended."""

    lacks: tuple[Lack, ...]
    suspended: tuple[str, ...] = ()

    @property
    def to_put_back(self) -> tuple[Lack, ...]:
        return tuple(lack for lack in self.lacks if not lack.left)

    @property
    def left(self) -> tuple[Lack, ...]:
        return tuple(lack for lack in self.lacks if lack.left)

    def of(self, *why: Why) -> tuple[Lack, ...]:
        """Return what is to be put back for one of these reasons."""
        return tuple(lack for lack in self.to_put_back if lack.why in why)

    @property
    def summary(self) -> str:
        """Return what is to be put back in one line."""
        return "; ".join(map(str, self.to_put_back))


def expected(items: Sequence[Item]) -> tuple[Item, ...]:
    """Return git's objects with kubeadm's, and with what Flux needs whatever git holds."""
    own = {item.key: item for item in (*KUBEADM, *FLUX)}
    return tuple({**own, **{item.key: item for item in items}}.values())


def compare(items: Iterable[Item], live: Live, switched_off: Mapping[Key, str]) -> Readiness:
    """Return what lacks.

    ``switched_off`` has what an experiment's journal says that it scaled or suspended: its business, not a user's.
    """
    suspended = {key for key, state in live.flux.items() if state.suspended}
    lacks = []
    for item in items:
        if (fault := _fault(item, live)) is not None:
            why, text = fault
            lacks.append(Lack(item, why, text, _left(item, suspended, switched_off)))
    lacks += [
        Lack(Item("Pod", SYSTEM, f"{name}-{node}"), "missing", "is missing: kubelet does not start it")
        for node, labels in live.nodes.items()
        if CONTROL_PLANE in labels
        for name in STATIC
        if f"{name}-{node}" not in live.system_pods
    ]
    chosen = sorted(" ".join((kind, f"{space}/{name}")) for kind, space, name in suspended - switched_off.keys())
    return Readiness(tuple(lacks), tuple(chosen))


def _left(item: Item, suspended: set[Key], switched_off: Mapping[Key, str]) -> str:
    if item.key in switched_off:
        return "an experiment switched it off"
    owner = ("Kustomization", NAMESPACE, item.owner)
    if owner in suspended and owner not in switched_off:
        return f"left so, because the Kustomization {item.owner} is suspended (invoke gitops.resume)"
    return ""


def _fault(item: Item, live: Live) -> tuple[Why, str] | None:
    if item.kind in WORKLOADS:
        workload = live.workloads.get(item.key)
        if workload is None:
            return "missing", "is missing"
        return _replicas(item, workload) if item.kind in REPLICATED else _nodes(item, workload, live)
    if item.kind == "Namespace":
        deleting = live.namespaces.get(item.name)
        return ("missing", "is missing") if deleting is None else ("deleting", "is being deleted") if deleting else None
    seen = live.flux.get(item.key)
    if seen is None:
        return "missing", "is missing"
    if seen.deleting:
        return "deleting", "is being deleted"
    return ("not ready", f"is not Ready: {seen.failed}") if seen.failed and not seen.suspended else None


def _replicas(item: Item, workload: Workload) -> tuple[Why, str] | None:
    source = "git" if item.owner else "kubeadm"
    if workload.wanted != item.replicas and not (source == "kubeadm" and workload.wanted > item.replicas):
        return "scaled", f"is scaled to {workload.wanted}, {source} has {item.replicas}"
    if workload.ready >= item.replicas:
        return None
    return "late", f"has {workload.ready} of {item.replicas} replicas ready"


def _nodes(item: Item, workload: Workload, live: Live) -> tuple[Why, str] | None:
    source = "git" if item.owner else "kubeadm"
    if dict(workload.node_selector) != dict(item.node_selector):
        has, wants = (_selector(selector) for selector in (workload.node_selector, item.node_selector))
        return "placed", f"is placed by {has} on {workload.wanted} nodes, {source} has {wants}"
    fits = [labels for labels in live.nodes.values() if item.node_selector.items() <= labels.items()]
    if fits and not workload.wanted:
        return "late", "runs on no node"
    if workload.ready >= workload.wanted:
        return None
    return "late", f"is ready on {workload.ready} of {workload.wanted} nodes"


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "no selector"


def read(api: Any) -> Live:
    """Return what is in the cluster, by a client."""
    core: Any = kubernetes.CoreV1Api(api)
    apps: Any = kubernetes.AppsV1Api(api)
    lists = {
        "Deployment": apps.list_deployment_for_all_namespaces().items,
        "StatefulSet": apps.list_stateful_set_for_all_namespaces().items,
        "DaemonSet": apps.list_daemon_set_for_all_namespaces().items,
    }
    return Live(
        workloads={
            (kind, workload.metadata.namespace, workload.metadata.name): _workload(kind, workload)
            for kind, workloads in lists.items()
            for workload in workloads
        },
        flux={
            (kind, item["metadata"]["namespace"], item["metadata"]["name"]): flux_object(item)
            for kind, resource in zip(FLUX_KINDS, (SOURCE, KUSTOMIZE), strict=True)
            for item in _objects(api, resource)
        },
        namespaces={
            namespace.metadata.name: bool(namespace.metadata.deletion_timestamp)
            for namespace in core.list_namespace().items
        },
        nodes={node.metadata.name: node.metadata.labels or {} for node in core.list_node().items},
        system_pods=frozenset(pod.metadata.name for pod in core.list_namespaced_pod(SYSTEM).items),
    )


def _workload(kind: str, workload: Any) -> Workload:
    status, spec = workload.status, workload.spec
    current = (status.observed_generation or 0) >= (workload.metadata.generation or 0)
    if kind == "DaemonSet":
        ready = status.number_ready if current else 0
        return Workload(status.desired_number_scheduled or 0, ready or 0, spec.template.spec.node_selector or {})
    return Workload(1 if spec.replicas is None else spec.replicas, (status.ready_replicas or 0) if current else 0)


def flux_object(item: Mapping[str, Any]) -> FluxObject:
    """Return the reading of an object of Flux."""
    ready = flux.ready_condition(item)
    failed = ready.get("message", "") or "no reason is given" if ready.get("status") == "False" else ""
    return FluxObject(
        suspended=bool(item.get("spec", {}).get("suspend")),
        deleting="deletionTimestamp" in item["metadata"],
        failed=failed,
        working=flux.working(item),
    )


def _objects(api: Any, resource: tuple[str, str, str]) -> Sequence[Mapping[str, Any]]:
    """Return all objects of a kind of Flux; none where the cluster does not know the kind."""
    try:
        listed: Any = kubernetes.CustomObjectsApi(api).list_cluster_custom_object(*resource)
    except kubernetes.ApiException as error:
        if error.status == 404:
            return []
        raise
    items: Sequence[Mapping[str, Any]] = listed["items"]
    return items
