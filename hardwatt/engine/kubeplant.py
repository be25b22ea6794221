"""The plant of a real lab: its cluster, its git server, its Prometheus."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from kubernetes import client

import hardwatt
from hardwatt import dump, forward, gitops, kube, machines, meter, mirror
from hardwatt.bundle import Edge, Writer
from hardwatt.bundle.model import Source
from hardwatt.endpoint import Endpoint
from hardwatt.engine import checks
from hardwatt.engine.arm import BaseArm, Bench, Git, load_arm
from hardwatt.engine.cluster import KubeCluster, api_errors, pod_problems
from hardwatt.engine.exporter import Exporter, meter_info
from hardwatt.engine.gitlog import PATH, parse_fetches
from hardwatt.engine.plan import Row
from hardwatt.engine.plant import Facts, Fetch, Rollouts
from hardwatt.engine.rollouts import watch_rollouts
from hardwatt.engine.studymodel import Study
from hardwatt.engine.undo import Changes, Log
from hardwatt.engine.workload import BRANCH, KUSTOMIZATION, WorkingCopy, base_kustomization, kustomization, manifests
from hardwatt.errors import LabError, RefusedError
from hardwatt.gitops import keys
from hardwatt.gitops.optional import running_fake_meter
from hardwatt.lab import Lab
from hardwatt.ssh import Ssh

FLUX, CI = "flux-system", "ci"
FLUX_KINDS = (
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository"),
)
OURS = "hardwatt.dev/experiment"
DISCOVERY = "discovery.json"


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class KubePlant:
    """``hardwatt.engine.plant.Plant`` of a lab that is up; made by ``open_plant``."""

    def __init__(self, lab: Lab, api: client.ApiClient, endpoint: Endpoint) -> None:
        self.clock = SystemClock()
        self._lab, self._api, self._endpoint = lab, api, endpoint
        self._index = mirror.load(lab)
        self._cluster = KubeCluster(api, lab.dir / DISCOVERY)
        self._exporter = Exporter(api, self.clock.wall_ms)
        self._remote = keys.remote(endpoint)
        workload = gitops.repository(lab, "workload", endpoint)
        self._copy = WorkingCopy(lab.dir / "workload", workload.url, workload.ssh_command)

    @property
    def cluster(self) -> KubeCluster:
        return self._cluster

    def facts(self, study: Study) -> Facts:
        """Look at host and cluster; changes nothing.

        Raises ``RefusedError`` where what would be measured is not what the study says.
        """
        edge = self._exporter.read("checks", "start")
        info = meter_info(edge.values)
        nodes = self._cluster.list("v1", "Node")
        up, kepler = self._prometheus()
        offset = edge.node_ms - (edge.requested_ms + edge.replied_ms) / 2
        found = (
            checks.meter(info, kepler, running_fake_meter(client.CoreV1Api(self._api))),
            checks.scrapes(up),
            checks.nodes_ready(nodes),
            checks.images(nodes, self._images(study)),
            checks.pods(self.unsettled(study)),
            checks.clock(offset),
            *checks.host(self._endpoint.kind),
        )
        checks.refuse(found)
        cpus = int(edge.values.get("hardwatt_node_cpus", 0)) or 1
        return Facts(
            source=_source(info),
            versions=self._versions(nodes, study),
            host={
                "kind": self._endpoint.kind,
                "proc_stat": self._endpoint.data.get("proc_stat", "node"),
                "cpus": cpus,
                **_node_facts(nodes[0]),
            },
            power_model=meter.load_models()[info["model"]].record(cpus) if info["source"] == "modelled" else {},
            checks=found,
        )

    @contextlib.contextmanager
    def quiet(self, study: Study, log: Log) -> Iterator[None]:
        """Hold the state between runs: the lab's Flux objects suspended, Flux off, namespaces there."""
        changes = Changes(self._cluster, log)
        spaces = [_namespace(name) for name in (study.workload.namespace, CI)]
        self._refuse_foreign(spaces)
        self._copy.open()
        with contextlib.ExitStack() as stack:
            for api_version, kind in FLUX_KINDS:
                stack.enter_context(changes.suspended(api_version, kind))
            for name in self._controllers():
                stack.enter_context(changes.scaled(FLUX, name, 0))
            stack.enter_context(changes.removed("v1", "Namespace", "", f"{OURS}=true"))
            for space in spaces:
                self._cluster.apply(space)
            yield

    def arm(self, study: Study, row: Row, log: Log) -> BaseArm:
        """Return the arm of a run; nothing happens yet."""
        git = Git(
            url=self._remote.url("workload"),
            branch=BRANCH,
            folder=study.workload.manifests,
            known_hosts=f"{self._remote.known_host}\n",
            keys={name: keys.path(self._lab, name).read_text() for name in ("flux", "runner")},
        )
        spaces = {"workload": study.workload.namespace, "ci": CI, "flux": FLUX}
        bench = Bench(
            study, row.run_id, Changes(self._cluster, log), git, self._images(study), spaces, study.levels_of(row.arm)
        )
        return load_arm(self._lab.root, study.code_of(row.arm))(bench)

    def rollouts(self, study: Study) -> contextlib.AbstractContextManager[Rollouts]:
        """Watch the application's Deployment."""
        return watch_rollouts(self._api, study.workload.namespace, study.workload.app, self.clock.wall_ms)

    def commit(self, study: Study, revision: str) -> str:
        """Commit the workload's manifests with this revision."""
        workload = study.workload
        digest = self._images(study)["app"].partition("@")[2]
        text = kustomization(base_kustomization(self._lab.root, workload), workload, digest, revision)
        files = {**manifests(self._lab.root, workload), KUSTOMIZATION: text}
        return self._copy.commit({f"{workload.manifests}/{name}": body for name, body in files.items()}, revision)

    def push(self) -> None:
        """Push over SSH with the controller's key."""
        self._copy.push()

    def reset(self, study: Study) -> None:
        """Remove the application and wait until its pods are gone."""
        self._cluster.delete("apps/v1", "Deployment", study.workload.namespace, study.workload.app)

    def unsettled(self, study: Study) -> Sequence[str]:
        """Return why pods are not at rest."""
        return pod_problems(self._cluster.list("v1", "Pod"))

    def edge(self, run_id: str, edge: str) -> Edge:
        """Read the counters once, directly."""
        return self._exporter.read(run_id, edge)

    def fetches(self, since_ms: int, until_ms: int) -> Sequence[Fetch]:
        """Read the git server's log over SSH."""
        with Ssh(self._endpoint) as ssh:
            return parse_fetches(ssh.read(PATH).decode(errors="replace"), since_ms, until_ms)

    def dump(self, run_id: str, t0_ms: int, t1_ms: int, writer: Writer) -> None:
        """Store the window's samples from Prometheus."""
        dump.dump_run(forward.prometheus_url(self._lab), run_id, t0_ms, t1_ms, writer)

    def _images(self, study: Study) -> dict[str, str]:
        app, runner = self._index.image(study.workload.image), self._index.image("hardwatt.dev/runner")
        if not (app.digest and runner.digest):
            raise LabError("the mirror's index holds no digest of the app or the runner", hint="invoke mirror.fill")
        return {"app": f"{app.name}@{app.digest}", "runner": f"{runner.name}@{runner.digest}"}

    def _controllers(self) -> list[str]:
        """Return Flux's Deployments, kustomize-controller first: otherwise it could start the others again."""
        names = [found["metadata"]["name"] for found in self._cluster.list("apps/v1", "Deployment", FLUX)]
        return sorted(names, key=lambda name: (name != "kustomize-controller", name))

    def _refuse_foreign(self, spaces: Sequence[dict[str, Any]]) -> None:
        for space in spaces:
            name = space["metadata"]["name"]
            found = self._cluster.get("v1", "Namespace", "", name)
            if found is not None and OURS not in (found["metadata"].get("labels") or {}):
                raise RefusedError(
                    f"the namespace {name} is there and was not made by an experiment",
                    hint="choose another workload.namespace in the study",
                )

    def _versions(self, nodes: Sequence[Any], study: Study) -> dict[str, str]:
        with api_errors("asking for the cluster's version"):
            server = client.VersionApi(self._api).get_code(_request_timeout=10).git_version
        info = nodes[0]["status"]["nodeInfo"]
        found = {
            "hardwatt": hardwatt.__version__,
            "kubernetes": server,
            "kubelet": info["kubeletVersion"],
            "container runtime": info["containerRuntimeVersion"],
            "kernel": info["kernelVersion"],
            **{f"image {name}": image for name, image in self._images(study).items()},
        }
        for kind, space in (("Deployment", FLUX), ("StatefulSet", "monitoring"), ("DaemonSet", "monitoring")):
            for one in self._cluster.list("apps/v1", kind, space):
                containers = one["spec"]["template"]["spec"]["containers"]
                found[one["metadata"]["name"]] = containers[0]["image"]
        return found

    def _prometheus(self) -> tuple[dict[str, float], list[str]]:
        """Return (job -> up, paths of Kepler's zones) as Prometheus has them now."""
        with dump.Client(forward.prometheus_url(self._lab), timeout=10) as server:
            up, _ = server.query("min by (job) (up)")
            kepler, _ = server.query("group by (path) (kepler_node_cpu_joules_total)")
        jobs = {item["metric"].get("job", ""): float(item["value"][1]) for item in up}
        return jobs, [item["metric"].get("path", "") for item in kepler]


def _source(info: dict[str, str]) -> Source:
    return "rapl" if info["source"] == "rapl" else "modelled"


def _node_facts(node: Any) -> dict[str, Any]:
    info, capacity = node["status"]["nodeInfo"], node["status"]["capacity"]
    return {
        "node": node["metadata"]["name"],
        "os": info["osImage"],
        "kernel": info["kernelVersion"],
        "architecture": info["architecture"],
        "memory": capacity["memory"],
    }


def _namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {OURS: "true"}}}


@contextlib.contextmanager
def open_plant(lab: Lab) -> Iterator[KubePlant]:
    """Open the plant of a lab that is up.

    Raises ``LabError`` where the cluster cannot be reached.
    """
    with kube.client(lab) as api:
        yield KubePlant(lab, api, machines.machine_for(lab).endpoint())


@contextlib.contextmanager
def open_cluster(lab: Lab) -> Iterator[KubeCluster]:
    """Open the cluster alone, which is all that putting things back needs.

    Raises ``LabError`` where it cannot be reached.
    """
    with kube.client(lab) as api:
        yield KubeCluster(api, lab.dir / DISCOVERY)
