"""The testbed of a real lab: its cluster, its git server, its Prometheus."""

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubernetes import client

from hardwatt.bundle.model import Edge
from hardwatt.bundle.writer import Writer
from hardwatt.cluster import client as cluster_client
from hardwatt.cluster import port_forward
from hardwatt.cluster.changes import Changes, Log
from hardwatt.cluster.objects import KubeCluster
from hardwatt.config.lab import Lab
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.dump import run
from hardwatt.experiment.arm import BaseArm, Git, RunContext, arms_of, load_arm
from hardwatt.experiment.host import probe
from hardwatt.experiment.plan.run_table import Row
from hardwatt.experiment.plan.study_model import Exclusion, Study
from hardwatt.experiment.testbed import lab_state
from hardwatt.experiment.testbed.cluster_checks import why_no_samples
from hardwatt.experiment.testbed.controller_cost import cpu_seconds
from hardwatt.experiment.testbed.git_log import PATH, parse_fetches
from hardwatt.experiment.testbed.inspection import FLUX, Inspection
from hardwatt.experiment.testbed.interface import JITTERED, NO_JITTER, Fetch, Rollouts, TestbedFacts
from hardwatt.experiment.testbed.node_exporter import Exporter
from hardwatt.experiment.testbed.node_record import MARGIN_MS, NodeRecord
from hardwatt.experiment.testbed.rest import pod_problems, queue_problems, restarts
from hardwatt.experiment.testbed.rollouts import COPY, watch_rollouts
from hardwatt.experiment.testbed.workload import (
    BRANCH,
    KUSTOMIZATION,
    WorkingCopy,
    base_kustomization,
    kustomization,
    manifests,
)
from hardwatt.gitops import git_remote
from hardwatt.gitops.desired_flux import seconds
from hardwatt.instruments.controller import CONTROLLER_CPU
from hardwatt.machines.lab_context import LabContext
from hardwatt.meter import node_meter
from hardwatt.provision import git_keys, node_data

CI = "ci"
FLUX_KINDS = (
    ("kustomize.toolkit.fluxcd.io/v1", "Kustomization"),
    ("source.toolkit.fluxcd.io/v1", "GitRepository"),
)
OURS = "hardwatt.dev/experiment"
DISCOVERY = "discovery.json"
SETTLED_MS = 1_500
"""The recorder writes once a second."""


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class KubernetesTestbed:
    """``hardwatt.experiment.testbed.interface.Testbed`` of a lab that is up; made by ``open_testbed``."""

    def __init__(self, lab: Lab, api: client.ApiClient, endpoint: Endpoint) -> None:
        self.clock = SystemClock()
        self._lab, self._api, self._endpoint = lab, api, endpoint
        self._index = LabContext.of(lab).index
        self._cluster = KubeCluster(api, lab.dir / DISCOVERY)
        self._exporter = Exporter(api, self.clock.wall_ms)
        self._remote = git_keys.remote(endpoint)
        workload = git_remote.repository(lab, "workload", endpoint)
        self._copy = WorkingCopy(lab.dir / "workload", workload.url, workload.ssh_command)
        self._first = probe.look(endpoint)
        self._sensors = probe.reader(endpoint, self._first)

    @property
    def cluster(self) -> KubeCluster:
        return self._cluster

    def facts(self, study: Study) -> TestbedFacts:
        """Look at host and cluster; changes nothing.

        Raises ``RefusedError`` where a part that the study needs is missing, or where what would be
        measured is not what the study says.
        """
        self._refuse_foreign([_namespace(name) for name in (study.workload.namespace, CI)])
        self.require_meter()
        inspection = Inspection(self._lab, self._cluster, self._exporter, self._endpoint, self._first)
        return inspection.facts(study, self._images(study), self.unsettled(study))

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
            for code in arms_of(self._lab.root, study):
                stack.enter_context(code.between_runs(changes))
            for name in self._controllers():
                stack.enter_context(changes.scaled(FLUX, name, 0))
                if name in JITTERED:
                    stack.enter_context(changes.argument(FLUX, name, NO_JITTER))
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
            keys={name: git_keys.path(self._lab, name).read_text() for name in ("flux", "runner")},
        )
        spaces = {"workload": study.workload.namespace, "ci": CI, "flux": FLUX}
        context = RunContext(
            study, row.run_id, Changes(self._cluster, log), git, self._images(study), spaces, study.levels_of(row.arm)
        )
        return load_arm(self._lab.root, study.code_of(row.arm))(context)

    def rollouts(self, study: Study) -> contextlib.AbstractContextManager[Rollouts]:
        """Watch the application's Deployment."""
        workload = study.workload
        name = workload.app if workload.copies == 1 else ""
        return watch_rollouts(self._api, workload.namespace, name, self.clock.wall_ms, copies=workload.copies)

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
        """Remove the application, all copies of it, and wait until its pods are gone."""
        self._cluster.delete("apps/v1", "Deployment", study.workload.namespace, study.workload.app)
        self._cluster.delete_all("apps/v1", "Deployment", study.workload.namespace, COPY)

    def unsettled(self, study: Study) -> Sequence[str]:
        """Return why pods and the queues of Flux's controllers are not at rest."""
        pods = self._cluster.list("v1", "Pod")
        return [*pod_problems(pods), *queue_problems(self._api, FLUX, pods, study.gate.queue_depth)]

    def celsius(self) -> float | None:
        """Read the processor's temperature."""
        return probe.celsius(self._sensors())

    def marks(self) -> Mapping[Exclusion, float]:
        """Count the restarts of all containers, and how often heat slowed the processor down."""
        counts: dict[Exclusion, float] = {"pod-restarted": restarts(self._cluster.list("v1", "Pod"))}
        throttles = probe.throttles(self._sensors())
        return counts if throttles is None else {**counts, "throttled": throttles}

    def state(self, study: Study) -> Mapping[str, str]:
        """Read the rig's objects from the cluster, and the kubelet's files from the node."""
        with Ssh(self._endpoint) as ssh:
            told = ssh.run(lab_state.FILES, check=False).stdout
        return {**lab_state.state_of(self._cluster), **lab_state.files_of(told)}

    def left(self, study: Study) -> Mapping[str, str]:
        """Count the objects in the namespaces of the application and of the CI jobs."""
        workload = study.workload
        return lab_state.left_of(self._cluster, (workload.namespace, CI), (workload.namespace, workload.app))

    def require_meter(self) -> None:
        """Compare the meter's configuration on the node with the lab's."""
        with Ssh(self._endpoint) as ssh:
            difference = node_meter.read(ssh.run).difference(node_data.meter_sha256(self._lab))
        if difference:
            raise LabError(difference, hint="invoke lab.up, which writes the lab's configuration; then repeat")

    def edge(self, run_id: str, edge: str) -> Edge:
        """Read the counters once, directly."""
        return self._exporter.read(run_id, edge)

    def boundary(self, run_id: str, edge: str) -> Edge:
        """Return one end of a window; the clocks were compared at the gate. Its one counter is the controller's own."""
        moment = self._exporter.boundary(run_id, edge)
        return dataclasses.replace(moment, values={CONTROLLER_CPU: cpu_seconds()})

    def fetches(self, since_ms: int, until_ms: int) -> Sequence[Fetch]:
        """Read the git server's log over SSH."""
        with Ssh(self._endpoint) as ssh:
            return parse_fetches(ssh.read(PATH).decode(errors="replace"), since_ms, until_ms)

    def dump(self, run_id: str, t0_ms: int, t1_ms: int, writer: Writer) -> str:
        """Store the node's record of the window and, where Prometheus ran all the time, its samples."""
        self._exporter.require_same_clock()
        # The record of the last seconds has to be there before it is fetched, which costs the node something.
        missing = t1_ms + MARGIN_MS + SETTLED_MS - self._exporter.node_ms()
        self.clock.sleep(max(0.0, missing / 1000))
        with Ssh(self._endpoint) as ssh:
            writer.add_recording(run_id, NodeRecord(ssh.read).around(t0_ms, t1_ms))
        if reason := why_no_samples(self._cluster, t0_ms):
            return reason
        margins = run.Margins.at(seconds(self._endpoint.scrape_interval))
        run.dump_run(port_forward.prometheus_url(self._lab), run_id, t0_ms, t1_ms, writer,
                     **dataclasses.asdict(margins))  # fmt: skip
        return ""

    def _images(self, study: Study) -> dict[str, str]:
        app, runner = self._index.image(study.workload.image), self._index.image("hardwatt.dev/runner")
        if not (app.digest and runner.digest):
            raise LabError("the mirror's index holds no digest of the app or the runner", hint="invoke mirror.fill")
        images = {"app": app, "runner": runner}
        if self._index.has_image("hardwatt.dev/buildbot"):
            images["buildbot"] = self._index.image("hardwatt.dev/buildbot")
        return {name: f"{image.name}@{image.digest}" for name, image in images.items()}

    def _controllers(self) -> list[str]:
        """Return Flux's Deployments, kustomize-controller first: otherwise it could start the others again."""
        names = [deployment["metadata"]["name"] for deployment in self._cluster.list("apps/v1", "Deployment", FLUX)]
        return sorted(names, key=lambda name: (name != "kustomize-controller", name))

    def _refuse_foreign(self, spaces: Sequence[dict[str, Any]]) -> None:
        for space in spaces:
            name = space["metadata"]["name"]
            existing = self._cluster.get("v1", "Namespace", "", name)
            if existing is not None and OURS not in (existing["metadata"].get("labels") or {}):
                raise RefusedError(
                    f"the namespace {name} is there and was not made by an experiment",
                    hint="choose another workload.namespace in the study",
                )


def _namespace(name: str) -> dict[str, Any]:
    # pods of the namespace CI are all ours; the manifests of the workload are the study's
    mode = "enforce" if name == CI else "warn"
    labels = {OURS: "true", f"pod-security.kubernetes.io/{mode}": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@contextlib.contextmanager
def open_testbed(lab: Lab) -> Iterator[KubernetesTestbed]:
    """Open the testbed of a lab that is up.

    Raises ``LabError`` where the cluster cannot be reached.
    """
    with cluster_client.connect(lab) as api:
        yield KubernetesTestbed(lab, api, LabContext.of(lab).endpoint)


@contextlib.contextmanager
def open_cluster(lab: Lab) -> Iterator[KubeCluster]:
    """Open the cluster alone, which is all that putting things back needs.

    Raises ``LabError`` where it cannot be reached.
    """
    with cluster_client.connect(lab) as api:
        yield KubeCluster(api, lab.dir / DISCOVERY)
