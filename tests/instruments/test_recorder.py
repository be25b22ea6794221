"""The record of simulated nodes, written by the daemon's recorder: every window holds the truth within its bounds."""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.analysis import comparison
from hardwatt.analysis.results import analysed
from hardwatt.bundle import recording_file
from hardwatt.bundle.model import Edge, Provenance, Run, SeriesSamples
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import LabError
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.node import CPU
from hardwatt.instruments.outcomes import measure
from hardwatt.instruments.recorded_window import at_ticks
from hardwatt.instruments.recorder import node_kind
from hardwatt.report.render import markdown
from hardwatt.testing.recorded_node import T0_NS, RecordedNode
from tests.instruments.simulated import HALF, INTEL, SECONDS, TREES, Node, Zone, truth_of


def windows(rng: np.random.Generator, count: int) -> list[Run]:
    """Windows anywhere in the recording, of 10 to 90 seconds."""
    runs = []
    for number in range(count):
        length = int(rng.integers(10_000, 90_000))
        t0 = T0_NS // 1_000_000 + int(rng.integers(6_000, (SECONDS - 6) * 1000 - length))
        runs.append(Run(f"w{number:04}", number, 0, "push", 0, "done", "", t0, t0 + length))
    return runs


def bundled(
    folder: Path,
    recording: Path,
    runs: list[Run],
    source: str = "rapl",
    model: dict[str, Any] | None = None,
    seconds: float = 0.0,
) -> Bundle:
    """A bundle of windows, each with the part of the recording around it."""
    arms = list(dict.fromkeys(run.arm for run in runs))
    plan = {
        "study": "simulated", "seed": 1, "arms": arms, "window_seconds": seconds or runs[0].seconds,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean paired difference"},
        "runs": [
            {"run_id": run.run_id, "block": run.block, "position": run.position, "arm": run.arm} for run in runs
        ],
    }  # fmt: skip
    whence = Provenance(1, source, "t", "", False, host={"cpus": 2}, power_model=model or {})  # type: ignore[arg-type]
    writer = Writer.create(folder, plan, whence)
    for run in runs:
        writer.add_recording(run.run_id, recording_file.cut([recording], run.t0_ms - 5000, run.t1_ms + 5000))
        writer.add_run(run)
    writer.finish()
    return Bundle.open(folder)


def held(node: Node, bundle: Bundle, packages: list[str], dram: list[str]) -> tuple[int, list[str]]:
    """Return how many figures were compared with the truth, and every one that is refused or does not hold it."""
    measured = measure(bundle)
    wrong = [f"{one.run_id} {one.name}: {one.reason}" for one in measured.refusals if one.name in KNOWN]
    figures = {(one.run_id, one.name): one.figure for one in measured.outcomes}
    checked = 0
    for run in bundle.runs:
        for name, parts in (("node_cpu_seconds", ["node"]), ("node_joules", packages), ("node_dram_joules", dram)):
            figure = figures.get((run.run_id, name))
            if figure is None:
                continue
            right, checked = truth_of(node, parts, run.t0_ms, run.t1_ms), checked + 1
            if not figure.low - 1e-6 <= right <= figure.high + 1e-6:
                wrong.append(f"{run.run_id} {name}: {right} is not in {figure.low} to {figure.high}")
    return checked, wrong


KNOWN = {"node_cpu_seconds", "node_joules", "node_dram_joules"}


@pytest.mark.parametrize("name", TREES)
def test_every_window_holds_the_truth(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zones, packages, dram = TREES[name]
    node = Node(tmp_path, zones)
    recording = node.write(monkeypatch)
    source = "modelled" if "model" in name else "rapl"
    bundle = bundled(tmp_path / "b", recording, windows(np.random.default_rng(1), 8), source, seconds=1)
    checked, wrong = held(node, bundle, packages, dram)
    assert wrong == []
    assert checked == 8 * (3 if dram else 2)
    assert {entry.node_kind for entry in bundle.manifest.recordings.values()} == {"machine-cgroup"}


def test_a_zone_that_stops_is_refused_where_it_stopped_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path, [Zone("intel-rapl:0", "package-0", "a", stops_at=HALF), Zone("intel-rapl:1", "psys", "p")])
    bundle = bundled(tmp_path / "b", node.write(monkeypatch), windows(np.random.default_rng(3), 30))
    reasons = {one.run_id: one.reason for one in measure(bundle).refusals if one.name == "node_joules"}
    stopped = {run.run_id for run in bundle.runs if run.t1_ms / 1000 - T0_NS / 1e9 > HALF}
    near = {run.run_id for run in bundle.runs if HALF - 5 < run.t1_ms / 1000 - T0_NS / 1e9 <= HALF}
    assert stopped <= set(reasons) <= stopped | near
    assert all("stands still" in reason for reason in reasons.values())
    assert 5 < len(stopped) < 25


def recorded(folder: Path, change: Callable[[RecordedNode, int], None], ticks: int = 60) -> Path:
    node = RecordedNode(folder / "recording")
    for second in range(ticks):
        node.values["node", "node"] += 250_000_000
        change(node, second)
        node.tick()
    return folder / "recording"


def run(t0: float, t1: float, name: str = "r") -> Run:
    begin, end = (T0_NS // 1_000_000 + round(1000 * moment) for moment in (t0, t1))
    return Run(name, 0, 0, "push", 0, "done", "", begin, end)


def figures(bundle: Bundle) -> dict[str, Figure | str]:
    measured = measure(bundle)
    found: dict[str, Figure | str] = {one.name: one.figure for one in measured.outcomes}
    return found | {one.name: one.reason for one in measured.refusals}


def value(figure: Figure | str) -> float:
    assert isinstance(figure, Figure), figure
    return figure.value


def test_figures_are_for_exactly_the_window_whatever_the_ticks(tmp_path: Path) -> None:
    """A quarter of a core for 30.7 s, with ticks 0.3 to 0.4 s off the ends."""
    path = recorded(tmp_path, lambda node, second: None)
    found = figures(bundled(tmp_path / "b", path, [run(15.4, 46.1)]))
    assert value(found["node_cpu_seconds"]) == pytest.approx(0.25 * 30.7, rel=1e-4)
    assert value(found["check.edge_error"]) == pytest.approx(0.5, abs=0.01)
    figure = found["node_cpu_seconds"]
    assert isinstance(figure, Figure)
    assert figure.source == "recorder, the machine's own cgroup"
    assert 0.2 < figure.high - figure.low < 0.6  # a tick's worth at each end


def test_a_window_cut_at_its_ticks_is_sharp_and_for_the_planned_length(tmp_path: Path) -> None:
    """Planned from 15.4 to 45.4; one tick comes 0.2 s late, so the window at the ticks is 30.2 s long."""

    def late(node: RecordedNode, second: int) -> None:
        node.m_ns += 200_000_000 if second == 20 else 0
        node.values["node", "node"] += 50_000_000 if second == 20 else 0

    path = recorded(tmp_path, late)
    t0, t1 = at_ticks(recording_file.read(path), run(15.4, 45.4).t0_ms, run(15.4, 45.4).t1_ms)
    assert (t0 - run(15, 46).t0_ms, t1 - t0) == (0, 30_200)
    own = replace(run(15, 46), t0_ms=t0, t1_ms=t1)
    figure = figures(bundled(tmp_path / "b", path, [own], seconds=30))["node_cpu_seconds"]
    assert isinstance(figure, Figure)
    assert figure.value == pytest.approx(7.5, abs=0.002)
    assert figure.high - figure.low < 0.01
    assert figure.low <= 7.5 <= figure.high


def pods(node: RecordedNode, second: int) -> None:
    """A pod that is always there, one of half a second that comes and goes, and the cgroup of all."""
    steady, short, unit = ("pod", "uid-a"), ("pod", "uid-b"), ("unit", "kubelet.service")
    names = {steady: ("flux-system", "source-controller"), short: ("ci", "runner-1")}
    for key, (namespace, pod) in names.items():
        node.more[key] = {"namespace": namespace, "pod": pod}
    node.values[steady] = node.values.get(steady, 0) + 50_000_000
    node.values[unit] = node.values.get(unit, 0) + 20_000_000
    node.values["pods", "kubepods"] = node.values.get(("pods", "kubepods"), 0) + 50_000_000
    if second == 30:
        node.more[short]["from_zero"] = True
        node.values[short] = 400_000_000
        node.values["pods", "kubepods"] += 500_000_000  # the last tenth came after the last reading
    if second == 31:
        node.m_ns += 300_000_000  # it is missed at the next reading, a moment later
        node.end(*short)


def test_pods_that_came_and_went_are_in_their_namespace(tmp_path: Path) -> None:
    found = figures(bundled(tmp_path / "b", recorded(tmp_path, pods), [run(15, 45)]))
    assert value(found["cpu_seconds.flux-system"]) == pytest.approx(1.5, rel=2e-2)
    short = found["cpu_seconds.ci"]
    assert isinstance(short, Figure)
    assert short.value == pytest.approx(0.4, rel=2e-2)
    assert short.low <= 0.5 <= short.high < 1.0
    assert value(found["cpu_seconds.kubepods"]) == pytest.approx(2.0, rel=2e-2)
    assert value(found["kubelet_cpu_seconds"]) == pytest.approx(0.6, rel=2e-2)
    assert value(found["closure.pods_of_kubepods"]) == pytest.approx(0.95, rel=1e-2)
    assert value(found["check.unseen_pods"]) == 0


def test_a_pod_that_began_and_ended_in_a_window_has_what_it_used_wherever_the_ends_are(tmp_path: Path) -> None:
    """A window of 4.7 s between ticks 5 s apart: the pod's 0.4 s are no pace that ends with the window."""
    path = recorded(tmp_path, pods)
    for at, (t0, t1) in enumerate([(34.4, 39.1), (33.6, 39.4), (15, 45)]):
        short = figures(bundled(tmp_path / f"b{at}", path, [run(t0, t1)]))["cpu_seconds.ci"]
        assert isinstance(short, Figure)
        assert 0.399999998 <= short.low <= short.value <= short.high
        assert short.value == pytest.approx(0.4, rel=1e-6)


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ((1, 30), "no tick within .* of its start"),
        ((30, 90), "no tick within .* of its end"),
        ((30.1, 30.3), "shorter than the recorder's interval"),
    ],
)
def test_a_window_that_the_recording_does_not_hold_is_refused(
    ends: tuple[float, float], reason: str, tmp_path: Path
) -> None:
    found = figures(bundled(tmp_path / "b", recorded(tmp_path, lambda node, second: None), [run(*ends)]))
    for name in ("node_cpu_seconds", "node_joules"):
        with pytest.raises(AssertionError, match=reason):
            value(found[name])


def test_a_stepped_clock_is_named(tmp_path: Path) -> None:
    def step(node: RecordedNode, second: int) -> None:
        node.step_ns = 7_000_000_000 if second > 30 else 0

    found = figures(bundled(tmp_path / "b", recorded(tmp_path, step), [run(15, 50)]))
    assert found["node_cpu_seconds"] == "the node's clock was stepped in it by +7.0 s"


def test_unequal_kinds_of_the_nodes_cpu_time_are_not_compared(tmp_path: Path) -> None:
    plain = recorded(tmp_path, lambda node, second: None)
    text = plain.read_bytes()
    other = tmp_path / "other"
    lines = []
    for raw in text.splitlines():
        _, _, body = raw.partition(b" ")
        changed = body.replace(b'"machine-cgroup"', b'"procstat"')
        lines.append(b"%08x %s\n" % (zlib.crc32(changed), changed))
    other.write_bytes(b"".join(lines))
    plan: dict[str, Any] = {
        "study": "s", "seed": 1, "arms": ["push"], "window_seconds": 30,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": name, "block": n, "position": 0, "arm": "push"} for n, name in enumerate("ab")],
    }  # fmt: skip
    writer = Writer.create(tmp_path / "b", plan, Provenance(1, "rapl", "t", "", False, host={"cpus": 2}))
    for name, path in (("a", plain), ("b", other)):
        writer.add_recording(name, path.read_bytes())
        writer.add_run(run(15, 45, name))
    writer.finish()
    measured = measure(Bundle.open(tmp_path / "b"))
    assert [one.run_id for one in measured.outcomes if one.name == "node_cpu_seconds"] == ["a"]
    (reason,) = [one.reason for one in measured.refusals if one.run_id == "b" and one.name == "node_cpu_seconds"]
    assert "/proc/stat" in reason
    assert "unequal kinds are not compared" in reason


def test_scrapes_stand_beside_the_record_with_their_bias(tmp_path: Path) -> None:
    """A dump whose counter runs two per cent high: the record stays the figure, the dump is a check."""
    path = recorded(tmp_path, lambda node, second: None)
    own = run(15, 45)
    plan = {
        "study": "s", "seed": 1, "arms": ["push"], "window_seconds": 30,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "push"}],
    }  # fmt: skip
    writer = Writer.create(tmp_path / "b", plan, Provenance(1, "rapl", "t", "", False, host={"cpus": 2}))
    writer.add_recording("r", path.read_bytes())
    at = np.arange(own.t0_ms - 5000, own.t1_ms + 5000, 1000, dtype=np.int64)
    writer.add_samples("r", CPU, [SeriesSamples({"__name__": CPU}, at, 0.255 * (at - at[0]) / 1000)])
    for edge, moment in (("start", own.t0_ms), ("end", own.t1_ms)):
        writer.add_edge(Edge("r", edge, moment, moment, moment, {}))  # type: ignore[arg-type]
    writer.add_run(own)
    writer.finish()
    found = figures(Bundle.open(tmp_path / "b"))
    assert value(found["node_cpu_seconds"]) == pytest.approx(7.5, rel=1e-3)
    assert value(found["check.by_scrapes.node_cpu_seconds"]) == pytest.approx(1.02, rel=1e-3)


def test_joules_of_another_model_than_the_bundles_are_withheld(tmp_path: Path) -> None:
    """71 W by the formula, five times as much in the zone: somebody changed the model on the node."""
    zone = ("energy", "synthetic-model:0")

    def model(node: RecordedNode, second: int) -> None:
        node.more[zone] = {"zone": "package-0", "wraps_at": INTEL}
        node.values[zone] = node.values.get(zone, 0) + 365_000_000

    path = recorded(tmp_path, model)
    points = {"name": "m", "cpus": 2, "points": [[0.0, 68.5], [1.0, 88.5]]}
    bundle = bundled(tmp_path / "b", path, [run(15, 45)], "modelled", points)
    found = figures(bundle)
    assert value(found["check.joules_of_formula"]) == pytest.approx(5.14, rel=0.01)
    assert str(found["node_joules"]).startswith("withheld: the zone has 5.1")
    points["points"] = [[0.0, 362.5], [1.0, 382.5]]
    agreed = figures(bundled(tmp_path / "c", path, [run(15, 45)], "modelled", points))
    assert value(agreed["node_joules"]) == pytest.approx(365 * 30, rel=1e-3)


def test_recorded_windows_go_through_to_the_report(tmp_path: Path) -> None:
    """Six pairs in one recording; push costs half a CPU-second more in each window of twenty seconds."""
    starts = [20 + 25 * number for number in range(12)]
    arms = ["push" if number % 4 in (0, 3) else "pull" for number in range(12)]
    busy = {
        second for start, arm in zip(starts, arms, strict=True) if arm == "push" for second in range(start, start + 20)
    }

    def work(node: RecordedNode, second: int) -> None:
        node.values["node", "node"] += (25_000_000 if second + 5 in busy else 0) + 1_000_000 * (second * 7919 % 13)

    path = recorded(tmp_path, work, ticks=340)
    runs = [
        replace(run(start, start + 20, f"r{number:02}"), block=number // 2, position=number % 2, arm=arm)
        for number, (start, arm) in enumerate(zip(starts, arms, strict=True))
    ]
    results = analysed(bundled(tmp_path / "b", path, runs).path)
    assert results.primary.estimate.value == pytest.approx(-0.5, abs=0.05)  # pull less push
    page = markdown(results)
    assert "the machine's own cgroup" in page


def test_a_bundle_keeps_the_record_and_says_where_it_is_damaged(tmp_path: Path) -> None:
    path = recorded(tmp_path, lambda node, second: None)
    bundle = bundled(tmp_path / "b", path, [run(15, 45)])
    bundle.verify()
    stored = tmp_path / "b/recording/r.gz"
    assert gzip.decompress(stored.read_bytes()) == recording_file.cut(
        [path], run(15, 45).t0_ms - 5000, run(15, 45).t1_ms + 5000
    )
    assert bundle.manifest.schema_version == 2
    assert "| `recording/` | the primary record" in (tmp_path / "b/README.md").read_text()
    assert bundle.recording("other") is None


def test_bundles_of_unequal_kinds_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped bundle has no record, but its meter said that it read the machine's own cgroup."""
    shipped = Path(__file__).parents[2] / "hardwatt/data/shipped-bundle"
    assert node_kind(Bundle.open(shipped)) == "machine-cgroup"
    path = recorded(tmp_path, lambda node, second: None)
    bundle = bundled(tmp_path / "b", path, [run(15, 45)])
    assert node_kind(bundle) == "machine-cgroup"
    comparison._refuse_unequal_kinds(["a", "b"], [shipped, bundle.path])
    monkeypatch.setattr(
        comparison, "node_kind", lambda opened: "procstat" if opened.path == bundle.path else "schedstat"
    )
    with pytest.raises(
        LabError, match=r"a and b cannot be compared: .* from /proc/schedstat and from /proc/stat, sampled"
    ):
        comparison._refuse_unequal_kinds(["a", "b"], [shipped, bundle.path])


def test_a_bundle_without_a_record_still_reports(tmp_path: Path) -> None:
    bundle = Bundle.open(Path(__file__).parents[2] / "hardwatt/data/shipped-bundle")
    assert bundle.manifest.schema_version == 1
    assert bundle.recording(bundle.runs[0].run_id) is None
    assert any(one.name == "node_cpu_seconds" for one in measure(bundle).outcomes)


@pytest.mark.parametrize("shift", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("moved", ["start", "end", "both", "apart"])
def test_a_shift_of_an_end_by_up_to_a_tick_moves_the_estimate_by_no_more_than_its_bounds(
    moved: str, shift: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planned ends move, and windows are cut at other ticks. What really was used at the ends moves the truth too:
    beyond that an estimate moves by no more than the bounds say."""
    node = Node(tmp_path, TREES["two sockets"][0], seconds=120)
    recording = node.write(monkeypatch)
    parts = {"start": (1.0, 0.0), "end": (0.0, 1.0), "both": (1.0, 1.0), "apart": (-0.5, 0.5)}[moved]
    ends = [(20.0 + 4.3 * n, 40.0 + 4.3 * n) for n in range(8)]
    shifted = [(t0 + parts[0] * shift, t1 + parts[1] * shift) for t0, t1 in ends]
    before, after = (planned(tmp_path / name, recording, each) for name, each in (("a", ends), ("b", shifted)))
    for name, counters in (("node_cpu_seconds", ["node"]), ("node_joules", ["a", "b"])):
        for number, (one, other) in enumerate(zip(before[name], after[name], strict=True)):
            used = [for_20_seconds(node, counters, *each[number]) for each in (ends, shifted)]
            assert one.low <= used[0] <= one.high
            assert other.low <= used[1] <= other.high
            stated = (one.high - one.low) + (other.high - other.low)
            assert abs((other.value - one.value) - (used[1] - used[0])) <= stated


def for_20_seconds(node: Node, counters: list[str], t0: float, t1: float) -> float:
    own = run(t0, t1)
    return truth_of(node, counters, own.t0_ms, own.t1_ms) * 20 / (t1 - t0)


def planned(folder: Path, recording: Path, ends: list[tuple[float, float]]) -> dict[str, list[Figure]]:
    """Return figures of windows with planned ends, each cut at its ticks as the engine does it."""
    read = recording_file.read(recording)
    plan = {
        "study": "s", "seed": 1, "arms": ["push"], "window_seconds": 20,
        "primary": {"outcome": "node_joules", "unit": "J", "estimator": "mean"},
        "runs": [{"run_id": f"r{n}", "block": n, "position": 0, "arm": "push"} for n in range(len(ends))],
    }  # fmt: skip
    writer = Writer.create(folder, plan, Provenance(1, "rapl", "t", "", False, host={"cpus": 2}))
    for number, (t0, t1) in enumerate(ends):
        own = run(t0, t1, f"r{number}")
        for edge, moment in (("start", own.t0_ms), ("end", own.t1_ms)):
            writer.add_edge(Edge(own.run_id, edge, moment, moment, moment, {}))  # type: ignore[arg-type]
        cut = at_ticks(read, own.t0_ms, own.t1_ms)
        writer.add_recording(own.run_id, recording.read_bytes())
        writer.add_run(replace(own, block=number, t0_ms=cut[0], t1_ms=cut[1]))
    writer.finish()
    measured = measure(Bundle.open(folder))
    return {
        name: [row.figure for row in measured.outcomes if row.name == name]
        for name in ("node_cpu_seconds", "node_joules")
    }
