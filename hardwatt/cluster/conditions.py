"""Waiting for objects of the cluster, for arms."""

from hardwatt.cluster.changes import Cluster, Manifest
from hardwatt.core.wait import wait


def condition(manifest: Manifest | None, kind: str = "Ready") -> tuple[bool, str]:
    """Return whether an object has the condition, of its present generation, and its message."""
    if manifest is None:
        return False, "not there"
    status = manifest.get("status") or {}
    if status.get("observedGeneration", 0) < manifest["metadata"].get("generation", 0):
        return False, "not seen by its controller"
    for item in status.get("conditions") or ():
        if item.get("type") == kind:
            return item.get("status") == "True", str(item.get("message", ""))
    return False, f"no condition {kind}"


def wait_condition(
    cluster: Cluster, api_version: str, kind: str, namespace: str, name: str, *, timeout: float, what: str = "Ready"
) -> None:
    """Wait until an object has a condition.

    Raises ``WaitError`` with the object's last message.
    """
    wait(
        lambda: condition(cluster.get(api_version, kind, namespace, name), what),
        lambda state: state[0],
        what=f"{kind} {namespace}/{name}",
        timeout=timeout,
        delay=0.5,
        describe=lambda state: state[1],
    )
