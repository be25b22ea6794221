"""Host and cluster checks before an experiment: all of them, each with its result in words."""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hardwatt.bundle.model import Check
from hardwatt.cluster.changes import Cluster, Manifest
from hardwatt.core.errors import RefusedError

METERS = ("modelled", "rapl")
SCRAPE_JOBS = ("meter", "cadvisor")
CLOCK_LIMIT_MS = 1000


def meter(info: Mapping[str, str], kepler_paths: Sequence[str], kepler_config: str = "") -> Check:
    """Say where the energy comes from; a fake meter is refused.

    ``kepler_config`` is what the configuration of a Kepler that runs says of a fake meter; empty: nothing.
    """
    source = info.get("source", "")
    if kepler_config:
        return Check("meter", "failed", f"Kepler uses its fake meter: {kepler_config}")
    if fake := [path for path in kepler_paths if is_fake(path)]:
        return Check("meter", "failed", f"Kepler uses its fake meter ({fake[0]})")
    if source not in METERS:
        return Check(
            "meter", "failed", f"the meter's source is {source or 'unknown'!r}, not one of {', '.join(METERS)}"
        )
    detail = f"{source} {info.get('model', '')}".strip()
    return Check("meter", "warning" if source == "modelled" else "ok", f"joules are {detail}")


def is_fake(path: str) -> bool:
    """Return whether a zone's path is one that Kepler's fake meter invents.

    It names its zones ``.../energy_package-0``, ``.../energy_dram``; a real zone is a folder like
    ``intel-rapl:0`` (Kepler, internal/device/fake_cpu_power_meter.go).
    """
    name = path.rpartition("/")[2]
    return "fake" in path.lower() or (name.startswith("energy_") and name != "energy_uj")


def prometheus_runs(cluster: Cluster) -> bool:
    """Return whether Prometheus is meant to run. It is a second instrument: windows are made of the node's record."""
    workload = cluster.get("apps/v1", "StatefulSet", "monitoring", "prometheus-k8s")
    return workload is not None and workload["spec"].get("replicas", 1) != 0


def why_no_samples(cluster: Cluster, t0_ms: int) -> str:
    """Return why Prometheus cannot have the samples of a window that began at ``t0_ms``; empty: it can.

    Samples live as long as the pod: one that started after the window began has none of its start.
    """
    if not prometheus_runs(cluster):
        return "Prometheus does not run"
    pod = cluster.get("v1", "Pod", "monitoring", "prometheus-k8s-0")
    states = ((pod or {}).get("status") or {}).get("containerStatuses") or ()
    started = [(state.get("state") or {}).get("running", {}).get("startedAt", "") for state in states]
    if not started or not all(started):
        return "Prometheus has no running pod"
    latest = max(datetime.datetime.fromisoformat(moment).timestamp() for moment in started)
    return "Prometheus was started after the window began" if latest * 1000 > t0_ms else ""


def scrapes(up: Mapping[str, float] | None) -> Check:
    """Say whether Prometheus reads what stands beside the record (``job`` -> ``up``; None: it does not run)."""
    if up is None:
        return Check("scrapes", "warning", "Prometheus does not run: nothing stands beside the node's record")
    down = [job for job in SCRAPE_JOBS if up.get(job) != 1.0]
    if down:
        return Check("scrapes", "failed", f"Prometheus does not read {', '.join(down)}")
    return Check("scrapes", "ok", f"{', '.join(SCRAPE_JOBS)} are read")


def images(nodes: Sequence[Manifest], wanted: Mapping[str, str]) -> Check:
    """Say whether the images of the experiment are on the node, so that no pull falls into a window."""
    present = {name for node in nodes for image in node["status"].get("images") or () for name in image["names"]}
    digests = {name.partition("@")[2] for name in present if "@" in name}
    missing = sorted(name for name, image in wanted.items() if image.partition("@")[2] not in digests)
    if missing:
        return Check("images", "warning", f"not on the node, would be pulled: {', '.join(missing)}")
    return Check("images", "ok", f"{len(wanted)} images are on the node")


def repositories(nodes: Sequence[Manifest]) -> set[str]:
    """Return the repositories of the images that are on the nodes, without tag and digest."""
    names = {name for node in nodes for image in node["status"].get("images") or () for name in image["names"]}
    return {re.sub(r"(@.*|:[^/:@]*)$", "", name) for name in names}


def nodes_ready(nodes: Sequence[Manifest]) -> Check:
    """Say whether the one node is Ready and has no pressure."""
    problems = []
    for node in nodes:
        for condition in node["status"].get("conditions") or ():
            if (condition["type"] == "Ready") != (condition["status"] == "True"):
                problems.append(f"{node['metadata']['name']}: {condition['type']} is {condition['status']}")
    return Check("node", "failed" if problems else "ok", "; ".join(problems) or f"{len(nodes)} ready")


def pods(problems: Sequence[str]) -> Check:
    """Say whether all pods are at rest; the gate waits for it again."""
    return Check("pods", "warning" if problems else "ok", "; ".join(problems) or "all at rest")


def clock(offset_ms: float) -> Check:
    """Say how far the node's clock is from the controller's."""
    status: Any = "warning" if abs(offset_ms) > CLOCK_LIMIT_MS else "ok"
    return Check("clock", status, f"the node's clock is {offset_ms:+.0f} ms from the controller's")


def refuse(checks: Sequence[Check]) -> None:
    """Raise ``RefusedError`` that names every failed check."""
    if failed := [f"{check.name}: {check.detail}" for check in checks if check.status == "failed"]:
        raise RefusedError(
            "the experiment would not measure what it says:\n  " + "\n  ".join(failed), hint="invoke lab.status"
        )
