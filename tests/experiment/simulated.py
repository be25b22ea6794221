"""A lab in memory with known truth: a cluster that is loud about what it does not know, a clock that only we move.

Everything that would outlive a killed process is kept in one JSON file, as a cluster would keep it.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hardwatt.bundle.model import Check, Edge, SeriesSamples
from hardwatt.bundle.writer import Writer
from hardwatt.cluster.changes import Changes, Log, Manifest, replaced
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError
from hardwatt.experiment.arm import BaseArm, Git, RunContext, arms_of, load_arm
from hardwatt.experiment.plan.run_table import Row
from hardwatt.experiment.plan.study_model import ARMS, Exclusion, Study
from hardwatt.experiment.testbed.interface import NO_JITTER, Fetch, TestbedFacts

EPOCH_MS = 1_800_000_000_000
CONTROLLERS = ("source-controller", "kustomize-controller")
IDLE_CORES, FLUX_CORES, JOB_SECONDS, ROLLOUT_SECONDS = 0.30, 0.05, 1.5, 0.4
CLOCK_OFFSET_MS = 250
"""The node's clock is ahead of the controller's."""


PROMETHEUS_CONFIG = """\
global: {scrape_interval: 15s}
scrape_configs:
  - {job_name: meter, scrape_interval: 5s, scrape_timeout: 5s}
  - {job_name: cadvisor, scrape_interval: 5s, scrape_timeout: 5s}
  - {job_name: kubelet}
"""
WATCHING_CORES = {"15s": 0.004, "1s": 0.04}
"""Cost of a Prometheus at an interval for the node, by the interval of its first job."""


class Killed(BaseException):
    """The process was killed here: nothing that follows may have an effect."""


class Disk:
    """What outlives a process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dead = False
        fresh = {
            "now": 1000.0, "cpu": 50.0, "objects": {}, "replicas": dict.fromkeys(CONTROLLERS, 1), "suspended": [],
            "arguments": {name: ["--storage-path=/data"] for name in CONTROLLERS},
            "stateful": {"prometheus-k8s": 1}, "config": PROMETHEUS_CONFIG,
        }  # fmt: skip
        self.data: dict[str, Any] = {**fresh, **(json.loads(path.read_text()) if path.exists() else {})}

    def save(self) -> None:
        if self.dead:
            raise Killed
        self.path.write_text(json.dumps(self.data))


class SimClock:
    """Time passes only when somebody sleeps; the node's CPU counter moves with it."""

    def __init__(self, disk: Disk, cores: Callable[[], float]) -> None:
        self._disk, self._cores = disk, cores
        self.on_sleep: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return float(self._disk.data["now"])

    def wall_ms(self) -> int:
        return EPOCH_MS + round(self.monotonic() * 1000)

    def sleep(self, seconds: float) -> None:
        self.on_sleep()
        self._disk.data["cpu"] += self._cores() * seconds
        self._disk.data["now"] += seconds
        self._disk.save()


class SimCluster:
    """Objects in a dictionary; Flux objects become Ready while both controllers run."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.on_job: Callable[[Manifest], None] = lambda job: None
        self.on_kustomization: Callable[[], None] = lambda: None
        self.calls: list[str] = []

    @property
    def flux_runs(self) -> bool:
        return all(self._disk.data["replicas"][name] for name in CONTROLLERS)

    def apply(self, manifest: Manifest) -> None:
        meta = manifest["metadata"]
        self._call(f"apply {manifest['kind']} {meta['name']}")
        self._disk.data["objects"][self._key(manifest["kind"], meta.get("namespace", ""), meta["name"])] = dict(
            manifest
        )
        self._disk.save()
        if manifest["kind"] == "Job":
            self.on_job(manifest)
        if manifest["kind"] == "Kustomization":
            assert self.flux_runs
            self.on_kustomization()

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        self._call(f"delete {kind} {name}")
        if kind == "Kustomization" and self._key(kind, namespace, name) in self._disk.data["objects"]:
            assert self.flux_runs, "a Kustomization has a finalizer: without its controller it is never gone"
        self._disk.data["objects"].pop(self._key(kind, namespace, name), None)
        self._disk.save()

    def delete_all(self, api_version: str, kind: str, namespace: str, selector: str) -> None:
        self._call(f"delete all {kind} {selector}")
        key, _, value = selector.partition("=")
        objects = self._disk.data["objects"]
        for name, found in list(objects.items()):
            if found["kind"] == kind and found["metadata"].get("labels", {}).get(key) == value:
                del objects[name]
        self._disk.save()

    def post(self, namespace: str, service: str, port: int, path: str) -> None:
        raise NotImplementedError("nothing listens in the simulated cluster")

    def argument(self, namespace: str, name: str, old: str, new: str) -> None:
        self._call(f"argument {name} {old} -> {new}")
        assert not self._disk.data["replicas"][name], "a controller that runs would restart for its new argument"
        self._disk.data["arguments"][name] = replaced(self._disk.data["arguments"][name], old, new)
        self._disk.save()

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Manifest | None:
        if kind == "StatefulSet":
            return {"spec": {"replicas": self._disk.data["stateful"][name]}, "metadata": {"name": name}}
        if kind == "ConfigMap":
            return {"data": {"prometheus.yaml": self._disk.data["config"]}, "metadata": {"name": name}}
        if kind == "Deployment":
            container = {"name": "manager", "args": self._disk.data["arguments"][name]}
            spec = {"replicas": self._disk.data["replicas"][name], "template": {"spec": {"containers": [container]}}}
            return {"spec": spec, "metadata": {"name": name}}
        found = self._disk.data["objects"].get(self._key(kind, namespace, name))
        if found is None:
            return None
        ready = {"conditions": [{"type": "Ready", "status": "True" if self.flux_runs else "False"}]}
        return {**found, "status": ready}

    def list(self, api_version: str, kind: str, namespace: str = "") -> Sequence[Manifest]:
        assert kind in ("Kustomization", "GitRepository"), kind
        suspended = kind in self._disk.data["suspended"]
        return [{"metadata": {"namespace": "flux-system", "name": "flux-system"}, "spec": {"suspend": suspended}}]

    def set_data(self, namespace: str, name: str, key: str, text: str) -> None:
        self._call(f"set {key} of {name}")
        assert (namespace, name, key) == ("monitoring", "prometheus-config", "prometheus.yaml")
        assert not self._disk.data["stateful"]["prometheus-k8s"], "a running pod sees a change only after minutes"
        self._disk.data["config"] = text
        self._disk.save()

    @property
    def scrapes(self) -> str:
        """The interval at which Prometheus scrapes; empty: it does not run."""
        config = yaml.safe_load(self._disk.data["config"])
        runs = self._disk.data["stateful"]["prometheus-k8s"]
        return str(config["scrape_configs"][0]["scrape_interval"]) if runs else ""

    def scale(self, namespace: str, name: str, replicas: int, kind: str = "Deployment") -> None:
        self._call(f"scale {name} {replicas}")
        if kind == "StatefulSet":
            self._disk.data["stateful"][name] = replicas
            self._disk.save()
            return
        assert name in CONTROLLERS, name
        self._disk.data["replicas"][name] = replicas
        self._disk.save()

    def suspend(self, api_version: str, kind: str, namespace: str, name: str, suspended: bool) -> None:
        self._call(f"suspend {kind} {suspended}")
        kinds = set(self._disk.data["suspended"])
        self._disk.data["suspended"] = sorted(kinds | {kind} if suspended else kinds - {kind})
        self._disk.save()

    def _call(self, text: str) -> None:
        if self._disk.dead:
            raise Killed
        self.calls.append(text)

    @staticmethod
    def _key(kind: str, namespace: str, name: str) -> str:
        return f"{kind} {namespace}/{name}"


class SimRollouts:
    """Revisions become Ready at moments that the testbed decided."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self.moments: dict[str, float] = {}

    def ready_ms(self, revision: str) -> int | None:
        moment = self.moments.get(revision)
        return EPOCH_MS + round(moment * 1000) if moment is not None and moment <= self._clock.monotonic() else None

    def repaired_ms(self, mark: str, base: str) -> int | None:
        raise NotImplementedError("the simulated application does not drift")

    def seen(self) -> Sequence[str]:
        return list(self.moments)


class SimulatedTestbed:
    """The testbed. ``on`` is called with the name of everything that happens, and may raise."""

    def __init__(self, path: Path, *, on: Callable[[str], None] = lambda event: None) -> None:
        self.disk = Disk(path)
        self.clock = SimClock(self.disk, self._cores)
        self.clock.on_sleep = lambda: self.event("sleep")
        self.cluster = SimCluster(self.disk)
        self.cluster.on_job = self._job
        self.cluster.on_kustomization = lambda: self._roll_out(self._committed, after=4.0)
        self.on = on
        self.versions = {"kubernetes": "v1.36.3"}
        self.never_ready: set[str] = set()
        self.busy: Callable[[], Sequence[str]] = lambda: ()
        self.on_reset: Callable[[], None] = lambda: None
        self.temperature: Callable[[], float | None] = lambda: None
        self.meter_problem = ""
        self.marked: dict[Exclusion, float] = {"pod-restarted": 3.0}
        self.lab_state: dict[str, str] = {}
        self.events: list[str] = []
        self.edges: list[Edge] = []
        self._committed, self._key = "", "runner"
        self._rollouts = SimRollouts(self.clock)

    def event(self, name: str) -> None:
        if self.disk.dead:
            raise Killed
        self.events.append(name)
        try:
            self.on(name)
        except Killed:
            self.disk.dead = True
            raise

    def facts(self, study: Study) -> TestbedFacts:
        return TestbedFacts("modelled", self.versions, {"kind": "simulated"}, {}, (Check("meter", "ok", "simulated"),))

    @contextlib.contextmanager
    def quiet(self, study: Study, log: Log) -> Iterator[None]:
        self.event("quiet")
        changes = Changes(self.cluster, log)
        with contextlib.ExitStack() as stack:
            stack.enter_context(changes.suspended("v1", "Kustomization"))
            made_up = any(not (ROOT / ARMS / f"{study.code_of(arm)}.py").exists() for arm in study.arms)
            for code in () if made_up else arms_of(ROOT, study):
                stack.enter_context(code.between_runs(changes))
            for name in reversed(CONTROLLERS):
                stack.enter_context(changes.scaled("flux-system", name, 0))
                stack.enter_context(changes.argument("flux-system", name, NO_JITTER))
            yield

    def arm(self, study: Study, row: Row, log: Log) -> BaseArm:
        self.event(f"arm {row.run_id}")
        self._key = "flux" if study.code_of(row.arm) == "pull" else "runner"
        git = Git("ssh://git@node:2222/srv/git/workload.git", "main", "app", "[node]:2222 key\n",
                  {"flux": "FLUX-KEY", "runner": "RUNNER-KEY"})  # fmt: skip
        spaces = {"workload": study.workload.namespace, "ci": "ci", "flux": "flux-system"}
        images = {"app": "hardwatt.dev/app@sha256:aa", "runner": "hardwatt.dev/runner@sha256:bb"}
        context = RunContext(
            study, row.run_id, Changes(self.cluster, log), git, images, spaces, study.levels_of(row.arm)
        )
        return load_arm(ROOT, study.code_of(row.arm))(context)

    @contextlib.contextmanager
    def rollouts(self, study: Study) -> Iterator[SimRollouts]:
        self._rollouts = SimRollouts(self.clock)
        yield self._rollouts

    def commit(self, study: Study, revision: str) -> str:
        self.event("commit")
        self._committed = revision
        return f"sha-{revision}"

    def push(self) -> None:
        """Flux, where it watches, rolls the revision out after a while."""
        self.event("push")
        if self.cluster.flux_runs and any(key.startswith("Kustomization") for key in self.disk.data["objects"]):
            self._roll_out(self._committed, after=4.0)

    def reset(self, study: Study) -> None:
        self.event("reset")
        self.on_reset()

    def unsettled(self, study: Study) -> Sequence[str]:
        return self.busy()

    def celsius(self) -> float | None:
        return self.temperature()

    def marks(self) -> Mapping[Exclusion, float]:
        self.event("marks")
        return dict(self.marked)

    def require_meter(self) -> None:
        self.event("meter")
        if self.meter_problem:
            raise LabError(self.meter_problem)

    def edge(self, run_id: str, edge: Any) -> Edge:
        self.event(f"edge {edge} {run_id}")
        now = self.clock.wall_ms()
        node = now + CLOCK_OFFSET_MS
        values = {"hardwatt_node_cpu_seconds_total": self.disk.data["cpu"], "node_time_seconds": node / 1000}
        values["hardwatt_meter_read_timestamp_seconds"] = node / 1000
        found = Edge(run_id, edge, now, now, node, values)
        if run_id != "gate":
            self.edges.append(found)
        return found

    def boundary(self, run_id: str, edge: Any) -> Edge:
        return self.edge(run_id, edge)

    def state(self, study: Study) -> Mapping[str, str]:
        self.event("state")
        return dict(self.lab_state)

    def left(self, study: Study) -> Mapping[str, str]:
        return {"Deployment": "1"}

    def fetches(self, since_ms: int, until_ms: int) -> Sequence[Fetch]:
        self.event("fetches")
        return [Fetch("2027-01-15T08:00:00+00:00", self._key, "workload")]

    def dump(self, run_id: str, t0_ms: int, t1_ms: int, writer: Writer) -> str:
        """Scrapes once a second that lie on the line between the readings at both ends."""
        self.event("dump")
        metric, moment = "hardwatt_node_cpu_seconds_total", "hardwatt_meter_read_timestamp_seconds"
        ends = [edge for edge in self.edges if edge.run_id == run_id]
        at = [edge.values[moment] for edge in ends]
        held = [edge.values[metric] for edge in ends]
        ts = np.arange(t0_ms - 3000, t1_ms + 3001, 1000, dtype=np.int64)
        values = np.interp(ts / 1000, [at[0] - 4, *at, at[1] + 4], [held[0] - 1, *held, held[1] + 1])
        labels = {"instance": "node:9100", "job": "meter"}
        writer.add_samples(run_id, metric, [SeriesSamples({"__name__": metric, **labels}, ts, values)])
        writer.add_samples(run_id, moment, [SeriesSamples({"__name__": moment, **labels}, ts, ts / 1000)])
        return "" if self.cluster.scrapes else "Prometheus does not run"

    def _cores(self) -> float:
        return IDLE_CORES + FLUX_CORES * self.cluster.flux_runs + WATCHING_CORES.get(self.cluster.scrapes, 0.0)

    def _job(self, job: Manifest) -> None:
        """A runner Job needs CPU and delivers the commit that it names."""
        assert not self.cluster.flux_runs, "push with Flux running"
        environment = {one["name"]: one["value"] for one in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        if environment["COMMIT"] != f"sha-{self._committed}":
            raise LabError("the job names another commit")
        self.disk.data["cpu"] += JOB_SECONDS
        self._roll_out(self._committed, after=3.0)

    def _roll_out(self, revision: str, *, after: float) -> None:
        if revision not in self.never_ready:
            self.disk.data["cpu"] += ROLLOUT_SECONDS
            self._rollouts.moments[revision] = self.clock.monotonic() + after


@contextlib.contextmanager
def opened(testbed: SimulatedTestbed, lab: Any) -> Iterator[SimulatedTestbed]:
    """Give experiments a testbed that the test made."""
    yield testbed
