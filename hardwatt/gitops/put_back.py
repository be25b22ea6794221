"""Putting back what the lab should have: replicas directly, everything else by Flux from git."""

from collections.abc import Callable
from typing import Any

from kubernetes import client as kubernetes

from hardwatt.core.errors import LabError
from hardwatt.core.wait import wait
from hardwatt.gitops import drift
from hardwatt.gitops.desired import FLUX_KINDS
from hardwatt.gitops.flux import FIELD_MANAGER, KUSTOMIZE, NAMESPACE, READY_TIMEOUT, FluxObjects
from hardwatt.gitops.readiness import ROOT, Lack, Readiness

GONE_TIMEOUT = 120.0
"""Seconds for a namespace that is being deleted: its pods end first."""
Look = Callable[[], Readiness]


def scale(api: Any, lacks: tuple[Lack, ...]) -> list[str]:
    """Give workloads the replicas that they should have; return what was done, as sentences.

    Directly: Flux cannot apply while its controllers are at zero, and applies no field that git does not set.
    """
    apps: Any = kubernetes.AppsV1Api(api)
    calls = {
        "Deployment": apps.patch_namespaced_deployment_scale,
        "StatefulSet": apps.patch_namespaced_stateful_set_scale,
    }
    done = []
    for lack in lacks:
        item = lack.item
        body = {"spec": {"replicas": item.replicas}}
        calls[item.kind](item.name, item.namespace, body, field_manager=FIELD_MANAGER)
        done.append(f"{item} scaled back to {item.replicas} (it {lack.before.partition(',')[0]})")
    return done


def settle(cluster: FluxObjects, look: Look) -> None:
    """Wait until nothing of the lab is being deleted any more: it could not be made again before.

    Where Flux itself is being deleted nobody takes its finalizers from its objects: they are taken here.
    Raises ``WaitError``.
    """
    state = look()
    if not state.of("deleting"):
        return
    if any(lack.item.key == ("Namespace", "", NAMESPACE) for lack in state.of("deleting")) or _no_controller(state):
        cluster.release()
    wait(
        lambda: [str(lack) for lack in look().of("deleting")],
        lambda deleting: not deleting,
        what="end of what is being deleted",
        timeout=GONE_TIMEOUT,
        describe="; ".join,
        hint="invoke lab.machine.shell; there: kubectl get namespaces, and kubectl describe of what is being deleted",
    )


def _no_controller(state: Readiness) -> bool:
    return any(lack.item.key == ("Deployment", NAMESPACE, "kustomize-controller") for lack in state.of("missing"))


def by_flux(cluster: FluxObjects, api: Any, look: Look) -> list[str]:
    """Have Flux apply again what is missing or placed elsewhere, and wait until it is there; return what it was.

    Raises ``WaitError`` naming what does not come back.
    """
    missing = _for_flux(look())
    if not missing:
        return []
    requests: dict[str, str] = {}
    wait(
        lambda: _ask(cluster, api, _for_flux(look()), requests),
        lambda lacks: not lacks,
        what="repair by Flux",
        timeout=drift.REPAIR_TIMEOUT,
        describe=lambda lacks: "; ".join(map(str, lacks)),
        hint="invoke gitops.status names what Flux says",
    )
    return [f"Flux repaired {lack.item} (it {lack.before})" for lack in missing]


def _for_flux(state: Readiness) -> list[Lack]:
    return [lack for lack in state.of("missing", "placed", "deleting") if lack.item.owner]


def _ask(cluster: FluxObjects, api: Any, lacks: list[Lack], requests: dict[str, str]) -> list[Lack]:
    """Ask the owners of what lacks to apply again, unless they are at it; return what lacks."""
    items = cluster.items(KUSTOMIZE)
    for owner in dict.fromkeys(lack.item.owner for lack in lacks):
        handled = items.get(owner, {}).get("status", {}).get("lastHandledReconcileAt")
        if owner not in items or (owner in requests and handled != requests[owner]):
            continue
        if owner in requests:  # it applied, and that was not enough: a field that git does not set is in the way
            _delete(api, [lack for lack in lacks if lack.item.owner == owner and lack.why == "placed"])
        requests[owner] = drift.request(cluster, [owner])
    return lacks


def _delete(api: Any, lacks: list[Lack]) -> None:
    """Delete DaemonSets that nobody but their creation puts right; Flux makes them again."""
    apps: Any = kubernetes.AppsV1Api(api)
    for lack in lacks:
        apps.delete_namespaced_daemon_set(lack.item.name, lack.item.namespace)


def complete(look: Look) -> None:
    """Wait until all that Flux applies is as git has it. Raises ``WaitError`` naming what is not."""

    def for_good(lacks: list[Lack]) -> str | None:
        scaled = [str(lack) for lack in lacks if lack.why in ("scaled", "placed")]
        return "; ".join(scaled) or None

    wait(
        lambda: [lack for lack in look().to_put_back if lack.item.owner],
        lambda lacks: not lacks,
        what="what Flux applied",
        timeout=READY_TIMEOUT,
        error=for_good,
        describe=lambda lacks: "; ".join(map(str, lacks)),
        hint="invoke lab.up",
    )


def refuse(state: Readiness) -> None:
    """Raise ``LabError`` at once where Flux cannot do what it is asked for, naming every reason."""
    needed = {*ROOT, ("Namespace", "", NAMESPACE)}
    stopped = [
        lack
        for lack in state.lacks
        if lack.why in ("missing", "deleting", "scaled")
        and (lack.item.key in needed or (lack.item.kind, lack.item.namespace) == ("Deployment", NAMESPACE))
    ]
    if off := [lack for lack in stopped if "experiment" in lack.left]:
        raise LabError(
            f"Flux is switched off by an experiment: {'; '.join(map(str, off))}",
            hint="invoke experiment.status; invoke experiment.resume, or experiment.abandon",
        )
    if stopped:
        left = any(lack.left for lack in stopped)
        hint = "invoke gitops.resume, then invoke lab.up" if left else "invoke lab.up"
        raise LabError(f"Flux cannot reconcile: {'; '.join(map(str, stopped))}", hint=hint)
    if state.suspended:
        raise LabError(f"suspended: {', '.join(state.suspended)}", hint="invoke gitops.resume")


def flux_lacks(state: Readiness) -> list[Lack]:
    """Return what of Flux, and of what it applies, is not as git has it; what Flux itself says of objects aside."""
    return [
        lack
        for lack in state.lacks
        if lack.why != "not ready" and (lack.item.owner or lack.item.kind in (*FLUX_KINDS, "Namespace"))
    ]
