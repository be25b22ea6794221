"""A bundle made from counters whose truth is known, for tests of whatever reads bundles.

It says ``synthetic`` in its host facts and in its study's name, so that it never passes for a measurement.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hardwatt.bundle import draws
from hardwatt.bundle.model import Delivery, Edge, Provenance, Run, SeriesSamples
from hardwatt.bundle.writer import Writer

Floats = npt.NDArray[np.float64]
Counter = Callable[[Floats], Floats]

ARMS = ("push", "pull")
NAMESPACES = ("default", "flux-system", "kube-system", "monitoring")
IDLE_WATTS, WATTS_PER_CPU, CPUS = 10.0, 7.5, 2
_KNOT = 0.1
_MARGIN = 12.0
_RUNNER_SECONDS = 4.0
_PAUSE = 40.0
"""Seconds between two windows."""
_PACE = 1.5
"""Of a run's mean CPU-seconds: so much more the node's counter has gained from one run to the next."""
_TICK = 0.1
_START_MS = 1_790_000_000_000
_MAX_RANGE_JOULES = 262_143.32885
METER = {"instance": "node:9100", "job": "meter"}
POWERCAP = {**METER, "index": "0", "path": "/host/sys/class/powercap/synthetic-model:0"}


@dataclass(frozen=True)
class Spec:
    """Contents of the bundle. ``effect`` is what a push window costs more than a pull one, in CPU-seconds."""

    pairs: int = 3
    commits: int = 3
    window_seconds: float = 60.0
    effect: float = 2.0
    noise: float = 0.3
    rate: float = 0.4
    seed: int = 1
    commits_by_block: tuple[int, ...] = ()
    """Commits of the blocks, in turns, in place of ``commits``."""
    by_commit: float = 0.0
    """What each commit costs more in a push window than in a pull one, in CPU-seconds, beside ``effect``."""
    pods: int = 0
    """Further pods of the namespace ``many``, each with a counter that is scraped every second."""


@dataclass(frozen=True)
class Truth:
    """The bundle's folder, and for every run the true value of each outcome by its name."""

    path: Path
    values: dict[str, dict[str, float]]


def make_bundle(path: Path, spec: Spec | None = None) -> Truth:
    """Write a finished bundle into the new folder ``path`` and return its truth."""
    spec = spec or Spec()
    rng = np.random.default_rng(spec.seed)
    plan = _plan(spec)
    points = [[0.0, IDLE_WATTS], [1.0, IDLE_WATTS + WATTS_PER_CPU * CPUS]]
    model = {"name": "synthetic", "points": points, "cpus": CPUS, "assumption": True}
    provenance = Provenance(
        seed=spec.seed,
        source="modelled",
        tool_version="synthetic",
        git_sha="",
        dirty=False,
        versions={"kubernetes": "v1.36.3"},
        host={"synthetic": True, "cpus": CPUS},
        power_model=model,
    )
    writer = Writer.create(path, plan, provenance)
    values = {
        row["run_id"]: _Maker(
            writer, spec, row, _START_MS + number * round(spec.window_seconds + _PAUSE) * 1000, rng
        ).run()
        for number, row in enumerate(plan["runs"])
    }
    writer.finish()
    return Truth(path, values)


def _plan(spec: Spec) -> dict[str, Any]:
    # As the engine draws them: the analysis draws them again.
    kind = "randomised" if len(ARMS) == 2 else "williams"
    runs = [
        {"run_id": f"{block:02d}-{position}-{arm}", "block": block, "position": position, "arm": arm, "repeat": 0}
        for block, order in enumerate(draws.orders(kind, ARMS, spec.pairs, spec.seed))
        for position, arm in enumerate(order)
    ]
    return {
        "schema_version": 1,
        "study": "synthetic",
        "seed": spec.seed,
        "arms": list(ARMS),
        "pairs": spec.pairs,
        "commits": spec.commits,
        "window_seconds": spec.window_seconds,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean paired difference"},
        "runs": runs,
    }


class _Maker:
    """One run: its counters as functions of time, sampled as a scrape would, written and told."""

    def __init__(self, writer: Writer, spec: Spec, row: dict[str, Any], t0_ms: int, rng: np.random.Generator) -> None:
        self.writer, self.spec, self.row, self.rng = writer, spec, row, rng
        self.run_id: str = row["run_id"]
        self.t0 = t0_ms / 1000
        self.t1 = self.t0 + spec.window_seconds
        self.begin, self.end = self.t0 - _MARGIN, self.t1 + _MARGIN
        turns = spec.commits_by_block or (spec.commits,)
        self.count = turns[row["block"] % len(turns)]
        # The node's counter goes on from run to run, as it does on a machine that stays up.
        most = max(turns)
        a_run = spec.rate * (spec.window_seconds + _PAUSE) + abs(spec.effect) + abs(spec.by_commit) * most
        self.level = 1000.0 + _PACE * a_run * (t0_ms - _START_MS) / 1000 / (spec.window_seconds + _PAUSE)
        self.commits = self.t0 + spec.window_seconds * (np.arange(self.count) + 0.5) / self.count - 5

    def run(self) -> dict[str, float]:
        """Write the run and return its truth."""
        push = self.row["arm"] == "push"
        effect = self.spec.effect + self.spec.by_commit * self.count
        extra = (effect if push else 0.0) + self.rng.normal(0, self.spec.noise)
        cpu = self._counter(self.spec.rate * self.spec.window_seconds + extra, start=self.level)
        git = self._counter(0.05 * self.count, start=5.0)
        kubelet = self._counter(0.02 * self.spec.window_seconds, start=50.0)
        joules = self._joules(cpu)
        truth = {"node_cpu_seconds": self._over(cpu), "git_cpu_seconds": self._over(git)}
        truth["node_joules"] = IDLE_WATTS * self.spec.window_seconds + WATTS_PER_CPU * truth["node_cpu_seconds"]
        truth["kubelet_cpu_seconds"] = self._over(kubelet)
        self._meter(cpu, {"hardwatt-git.service": git, "kubelet.service": kubelet}, joules)
        self._edges(cpu, git, joules)
        truth |= self._pods(cpu, self.commits if push else self.commits[:0])
        truth |= self._deliveries(push)
        return truth

    def _counter(self, amount: float, start: float) -> Counter:
        """Return a counter that grows by ``amount`` in the window, unevenly, and at the same pace around it."""
        knots = np.arange(self.begin, self.end + _KNOT, _KNOT)
        steps = self.rng.uniform(0.3, 1.7, knots.size - 1)
        level = np.concatenate([[0.0], np.cumsum(steps)])
        inside = np.diff(np.interp([self.t0, self.t1], knots, level))[0]
        level = start + level * amount / inside
        return lambda t: np.asarray(np.interp(t, knots, level), dtype=np.float64)

    def _joules(self, cpu: Counter) -> Counter:
        """The modelled register: linear in time and CPU-seconds, with one wrap in the middle of the window."""
        middle = np.array([(self.t0 + self.t1) / 2])

        def energy(t: Floats) -> Floats:
            return IDLE_WATTS * (t - self.begin) + WATTS_PER_CPU * (cpu(t) - self.level)

        offset = _MAX_RANGE_JOULES - energy(middle)[0]
        return lambda t: np.mod(energy(t) + offset, _MAX_RANGE_JOULES)

    def _over(self, counter: Counter) -> float:
        return float(np.diff(counter(np.array([self.t0, self.t1])))[0])

    def _scrapes(self) -> Floats:
        return np.arange(self.begin + float(self.rng.uniform(0, 1)), self.end, 1.0)

    def _meter(self, cpu: Counter, units: dict[str, Counter], joules: Counter) -> None:
        at = self._scrapes()
        read = np.floor(at / _TICK) * _TICK
        named = [({**METER, "unit": name}, counter) for name, counter in units.items()]
        self._write("hardwatt_node_cpu_seconds_total", [(METER, at, cpu(read))])
        self._write("hardwatt_unit_cpu_seconds_total", [(labels, at, counter(read)) for labels, counter in named])
        self._write("hardwatt_meter_read_timestamp_seconds", [(METER, at, read)])
        self._write("hardwatt_meter_cpu_seconds_total", [(METER, at, 0.004 * (read - self.begin))])
        self._write("hardwatt_unit_read_timestamp_seconds", [(labels, at, read) for labels, _ in named])
        self._write("node_rapl_package_joules_total", [(POWERCAP, at, joules(read))])
        zone = {**METER, "zone": "package-0", "path": "/sys/class/powercap/synthetic-model:0"}
        limit = np.full(at.size, _MAX_RANGE_JOULES)
        self._write("hardwatt_powercap_max_energy_range_joules", [(zone, at, limit)])
        self._write("up", [(METER, at, np.ones(at.size)), ({**METER, "job": "cadvisor"}, at, np.ones(at.size))])

    def _edges(self, cpu: Counter, git: Counter, joules: Counter) -> None:
        for edge, moment in (("start", self.t0), ("end", self.t1)):
            read = np.array([moment + float(self.rng.uniform(-0.08, 0.08))])
            values = {
                "hardwatt_node_cpu_seconds_total": cpu(read)[0],
                'hardwatt_unit_cpu_seconds_total{unit="hardwatt-git.service"}': git(read)[0],
                "hardwatt_meter_read_timestamp_seconds": read[0],
                'hardwatt_unit_read_timestamp_seconds{unit="hardwatt-git.service"}': read[0],
                f'node_rapl_package_joules_total{{index="0",path="{POWERCAP["path"]}"}}': joules(read)[0],
                'hardwatt_powercap_max_energy_range_joules{path="/sys/class/powercap/synthetic-model:0",'
                'zone="package-0"}': _MAX_RANGE_JOULES,
            }
            plain = {name: float(value) for name, value in values.items()}
            now = round(float(read[0]) * 1000)
            self.writer.add_edge(Edge(self.run_id, edge, now - 5, now + 7, now, plain))  # type: ignore[arg-type]

    def _pods(self, cpu: Counter, starts: Floats) -> dict[str, float]:
        """Long-lived pods of every namespace, and one runner pod per commit of the push arm."""
        node, truth, rows = self._over(cpu), {}, []
        total: list[Counter] = []
        for share, namespace in zip((0.02, 0.08, 0.5, 0.2), NAMESPACES, strict=True):
            counter = self._counter(node * share, start=100.0)
            truth[f"cpu_seconds.{namespace}"] = self._over(counter)
            rows.append(self._pod(namespace, "steady-0", counter, self.begin, self.end))
            total.append(counter)
        truth["cpu_seconds.ci"] = 0.0
        for number, start in enumerate(starts):
            counter = _runner(float(start))
            truth["cpu_seconds.ci"] += self._over(counter)
            rows.append(self._pod("ci", f"runner-{number}", counter, float(start), float(start) + _RUNNER_SECONDS))
            total.append(counter)
        parent = {**METER, "job": "cadvisor", "id": "/kubepods", "namespace": "", "pod": "", "container": ""}
        at = self._scrapes()
        many = self._many(at)
        rows += [
            ({**parent, "id": f"/kubepods/pod-many-{i}", "namespace": "many", "pod": f"many-{i}"}, at, seconds)
            for i, seconds in enumerate(many)
        ]
        rows.append((parent, at, np.sum([counter(at) for counter in total], axis=0) + many.sum(axis=0)))
        self._write("container_cpu_usage_seconds_total", rows)
        return truth

    def _many(self, at: Floats) -> Floats:
        """Counters of the further pods at *at*, whole nanoseconds; shape (pods, moments). Every second one is idle."""
        steps = self.rng.uniform(0, 2e-5, (self.spec.pods, at.size))
        steps[::2] = 0.0
        return np.asarray(np.round(np.cumsum(steps, axis=1) + 100.0, 9))

    def _pod(
        self, namespace: str, pod: str, counter: Counter, born: float, died: float
    ) -> tuple[dict[str, str], Floats, Floats]:
        at = self._scrapes()
        at = at[(at >= born) & (at <= died)]
        place = {"id": f"/kubepods/pod-{namespace}-{pod}", "namespace": namespace, "pod": pod}
        return {**METER, "job": "cadvisor", "container": "", "image": "", **place}, at, counter(at)

    def _write(self, metric: str, rows: list[tuple[dict[str, str], Floats, Floats]]) -> None:
        samples = [
            SeriesSamples({"__name__": metric, **labels}, np.round(at * 1000).astype(np.int64), values)
            for labels, at, values in rows
        ]
        self.writer.add_samples(self.run_id, metric, samples)

    def _deliveries(self, push: bool) -> dict[str, float]:
        delays = self.rng.uniform(2, 4, self.count) if push else self.rng.uniform(5, 9, self.count)
        rows = [
            Delivery(self.run_id, i, f"{self.run_id}-{i}", round(at * 1000), round((at + delay) * 1000), "ready")
            for i, (at, delay) in enumerate(zip(self.commits, delays, strict=True))
        ]
        self.writer.add_deliveries(self.run_id, rows)
        row = self.row
        self.writer.add_run(
            Run(
                run_id=self.run_id,
                block=row["block"],
                position=row["position"],
                arm=row["arm"],
                repeat=0,
                status="done",
                reason="",
                t0_ms=round(self.t0 * 1000),
                t1_ms=round(self.t1 * 1000),
                commits=len(rows),
                ready=len(rows),
            )
        )
        return {"deliveries_ready": float(len(rows)), "commit_to_ready_seconds": float(np.median(delays))}


def _runner(start: float) -> Counter:
    """A runner pod: born at zero, 0.3 CPU-seconds a second for three of its four seconds, then idle."""
    return lambda t: np.asarray(0.3 * np.clip(t - start, 0, _RUNNER_SECONDS - 1), dtype=np.float64)
