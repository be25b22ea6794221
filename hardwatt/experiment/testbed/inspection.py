"""Inspection of a real lab before an experiment: source, versions, host, checks."""

from collections.abc import Mapping, Sequence
from typing import Any

from kubernetes import client

import hardwatt
from hardwatt.bundle.model import Source
from hardwatt.cluster import port_forward
from hardwatt.cluster.changes import Manifest, first_arguments
from hardwatt.cluster.objects import KubeCluster, api_errors
from hardwatt.config.lab import Lab
from hardwatt.config.versions import lock
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import RefusedError
from hardwatt.core.wait import wait_at_most
from hardwatt.dump.client import Client
from hardwatt.experiment.host import host_checks, machine_identity, probe
from hardwatt.experiment.plan.study_model import Study
from hardwatt.experiment.testbed import cluster_checks
from hardwatt.experiment.testbed.interface import NO_JITTER, TestbedFacts
from hardwatt.experiment.testbed.node_exporter import Exporter, meter_info
from hardwatt.gitops.addons import running_fake_meter
from hardwatt.gitops.desired_flux import seconds
from hardwatt.meter import models

FLUX = "flux-system"
FIRST_SCRAPES_SECONDS = 45.0
"""Of a Prometheus that has just been started: three intervals of 15 s."""
KUBELETS_OWN_SECONDS = 10.0
"""Housekeeping interval of a kubelet that is not told another one; a lab that scrapes faster asks for its own."""
JITTER = NO_JITTER.partition("=")[0]


class Inspection:
    """Looks at host and cluster, and changes nothing."""

    def __init__(
        self, lab: Lab, cluster: KubeCluster, exporter: Exporter, endpoint: Endpoint, host: probe.ProbeAnswers
    ) -> None:
        self._lab, self._cluster, self._exporter, self._endpoint = lab, cluster, exporter, endpoint
        self._first = host

    def facts(self, study: Study, images: Mapping[str, str], unsettled: Sequence[str]) -> TestbedFacts:
        """Return what goes into the manifest.

        Raises ``RefusedError`` where a part that the study needs is missing, or where what would be
        measured is not what the study says.
        """
        edge = self._exporter.read("checks", "start")
        info = meter_info(edge.values)
        nodes = self._cluster.list("v1", "Node")
        refuse_missing(study, self._missing(study, info.get("source", ""), cluster_checks.repositories(nodes)))
        up, kepler = self._prometheus() if cluster_checks.prometheus_runs(self._cluster) else (None, [])
        offset = edge.node_ms - (edge.requested_ms + edge.replied_ms) / 2
        now = probe.look(self._endpoint)
        checks = (
            cluster_checks.meter(info, kepler, running_fake_meter(client.CoreV1Api(self._cluster.api))),
            cluster_checks.scrapes(up),
            cluster_checks.nodes_ready(nodes),
            cluster_checks.images(nodes, images),
            cluster_checks.pods(unsettled),
            cluster_checks.clock(offset),
            *host_checks.all_of(now, info.get("source", ""), self._first),
        )
        cluster_checks.refuse(checks)
        cpus = int(edge.values.get("hardwatt_node_cpus", 0)) or 1
        model = models.load_models()[info["model"]].record(cpus) if info["source"] == "modelled" else {}
        return TestbedFacts(
            source=_source(info),
            versions=self._versions(nodes, images),
            host=self._host(nodes[0], cpus, now),
            power_model=model,
            checks=checks,
        )

    def _host(self, node: Manifest, cpus: int, now: probe.ProbeAnswers) -> dict[str, Any]:
        info, capacity = node["status"]["nodeInfo"], node["status"]["capacity"]
        return {
            "kind": self._endpoint.kind,
            "proc_stat": self._endpoint.data.get("proc_stat", "node"),
            "cpus": cpus,
            "node": node["metadata"]["name"],
            "machine": machine_identity.of_endpoint(self._endpoint, now),
            "processor": now.get("processor", "not shown"),
            "os": info["osImage"],
            "kernel": info["kernelVersion"],
            "architecture": info["architecture"],
            "memory": capacity["memory"],
            "flux_interval_jitter": self._jitter(),
            "scrape_seconds": seconds(self._endpoint.scrape_interval),
            "housekeeping_seconds": min(KUBELETS_OWN_SECONDS, seconds(self._endpoint.scrape_interval)),
        }

    def _jitter(self) -> str:
        """Return what Flux's jitter is in the windows, and what it is otherwise."""
        every = [first_arguments(deployment) for deployment in self._cluster.list("apps/v1", "Deployment", FLUX)]
        own = sorted({next((word for word in words if word.startswith(JITTER)), "its default") for words in every})
        return f"{NO_JITTER} in every window; otherwise {', '.join(own) or 'no Flux'}"

    def _missing(self, study: Study, source: str, images: set[str]) -> list[str]:
        """Return the parts in ``needs`` that this lab has not; ``images`` are those on its nodes."""
        return [need for need in study.needs if not self._there(*need.split(" ", 1), source=source, images=images)]

    def _there(self, kind: str, name: str, *, source: str, images: set[str]) -> bool:
        if kind == "deployment":
            namespace, _, deployment = name.partition("/")
            return self._cluster.get("apps/v1", "Deployment", namespace, deployment) is not None
        if kind == "image":
            return name in images
        return name == (source if kind == "source" else self._endpoint.data.get("proc_stat", "node"))

    def _versions(self, nodes: Sequence[Manifest], images: Mapping[str, str]) -> dict[str, str]:
        with api_errors("asking for the cluster's version"):
            server = client.VersionApi(self._cluster.api).get_code(_request_timeout=10).git_version
        info = nodes[0]["status"]["nodeInfo"]
        versions = {
            "hardwatt": hardwatt.__version__,
            "kubernetes": server,
            "kubelet": info["kubeletVersion"],
            "container runtime": info["containerRuntimeVersion"],
            "kernel": info["kernelVersion"],
            **{f"image {name}": image for name, image in images.items()},
        }
        for kind, space in (("Deployment", FLUX), ("StatefulSet", "monitoring"), ("DaemonSet", "monitoring")):
            for workload in self._cluster.list("apps/v1", kind, space):
                containers = workload["spec"]["template"]["spec"]["containers"]
                versions[workload["metadata"]["name"]] = containers[0]["image"]
        # What was not there explains what a report does not show.
        left = [name for name in lock().foreign if name not in versions]
        return {**versions, "left out": ", ".join(sorted(left))} if left else versions

    def _prometheus(self) -> tuple[dict[str, float], list[str]]:
        """Return (job -> up, paths of Kepler's zones) as Prometheus has them now."""
        with Client(port_forward.prometheus_url(self._lab), timeout=10) as server:
            # One that was restored a moment ago (after a killed run) has yet to scrape.
            jobs = wait_at_most(
                lambda: _up(server),
                lambda jobs: all(jobs.get(name) == 1.0 for name in cluster_checks.SCRAPE_JOBS),
                what="the first scrapes of Prometheus",
                timeout=FIRST_SCRAPES_SECONDS,
            )
            kepler = server.query("group by (path) (kepler_node_cpu_joules_total)")
        return jobs, [item["metric"].get("path", "") for item in kepler]


def _up(server: Client) -> dict[str, float]:
    """Return job -> 1 where all its targets are up."""
    answer = server.query("min by (job) (up)")
    return {item["metric"].get("job", ""): float(item["value"][1]) for item in answer}


def refuse_missing(study: Study, missing: Sequence[str]) -> None:
    """Raise ``RefusedError`` that names every part that a study needs and this lab has not."""
    if missing:
        made_here = {f"image {image.repository}" for image in lock().images.values()}
        fill = "invoke mirror.fill --only ci" if made_here & set(missing) else "invoke mirror.import ARCHIVE"
        image = any(need.startswith("image ") for need in missing)
        raise RefusedError(
            f"the study {study.name} needs parts that this lab has not: {', '.join(missing)}",
            hint=f"{fill}, then invoke lab.up" if image else "invoke lab.status shows what the lab has",
        )


def _source(info: Mapping[str, str]) -> Source:
    return "rapl" if info["source"] == "rapl" else "modelled"
