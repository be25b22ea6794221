"""The lab's Prometheus and its exporter as a treatment: off, or scraping at an interval of the arm's own.

Every change goes through the journal. The lab's Flux objects are suspended while an experiment runs, so that nothing
reverts the changes.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import yaml

from hardwatt.cluster.changes import Changes
from hardwatt.core.errors import LabError
from hardwatt.delivery.manifests import Manifest

NAMESPACE = "monitoring"
PROMETHEUS, EXPORTER = "prometheus-k8s", "node-exporter"
CONFIG, KEY = "prometheus-config", "prometheus.yaml"
WATCHED_JOBS = ("meter", "cadvisor")
"""Jobs that follow the interval of an arm; the others keep that of the lab."""
INTERVALS = {"15s": 15, "1s": 1}
"""Interval of an arm -> seconds."""
LONGEST_TIMEOUT = 10
OFF = "off"


@contextlib.contextmanager
def prometheus_off(changes: Changes) -> Iterator[None]:
    """Keep Prometheus off while the context lasts. Its samples are lost: they live as long as its pod."""
    with changes.scaled(NAMESPACE, PROMETHEUS, 0, "StatefulSet"):
        yield


@contextlib.contextmanager
def exporter_off(changes: Changes) -> Iterator[None]:
    """Keep the node exporter off the node while the context lasts."""
    with changes.overridden(nowhere(EXPORTER)):
        yield


@contextlib.contextmanager
def scraping(changes: Changes, interval: str) -> Iterator[None]:
    """Run a Prometheus that was off, with this interval of the jobs that watch the node.

    Prometheus is configured before its pod starts: a change would reach a running pod only after minutes.

    Raises ``LabError`` for an unknown interval, and where a job that watches the node is missing.
    """
    config = changes.cluster.get("v1", "ConfigMap", NAMESPACE, CONFIG)
    text = with_interval(str(((config or {}).get("data") or {}).get(KEY, "")), interval)
    with changes.configured(NAMESPACE, CONFIG, KEY, text), changes.scaled(NAMESPACE, PROMETHEUS, 1, "StatefulSet"):
        yield


def with_interval(text: str, interval: str) -> str:
    """Return Prometheus' configuration with another interval of the jobs that watch the node.

    Raises ``LabError`` for an unknown interval, and where one of the jobs is missing.
    """
    if interval not in INTERVALS:
        raise LabError(f"prometheus: there is no interval {interval!r}", hint=f"use {OFF}, {' or '.join(INTERVALS)}")
    config = yaml.safe_load(text) or {}
    jobs = {job.get("job_name"): job for job in config.get("scrape_configs") or ()}
    if missing := [name for name in WATCHED_JOBS if name not in jobs]:
        raise LabError(f"{KEY} of {NAMESPACE}/{CONFIG} has no job {missing[0]}", hint="invoke lab.up")
    for name in WATCHED_JOBS:
        timeout = min(INTERVALS[interval], LONGEST_TIMEOUT)
        jobs[name].update({"scrape_interval": interval, "scrape_timeout": f"{timeout}s"})
    return str(yaml.safe_dump(config, sort_keys=False))


def nowhere(daemonset: str) -> Manifest:
    """Return what keeps a DaemonSet's pods off every node: a label that no node has."""
    spec: dict[str, Any] = {"template": {"spec": {"nodeSelector": {"hardwatt.dev/nowhere": "true"}}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": daemonset, "namespace": NAMESPACE},
        "spec": spec,
    }
