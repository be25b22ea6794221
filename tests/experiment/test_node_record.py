"""The node's record of a run: fetched after the window, as one file or two, and refused where it does not carry it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from hardwatt.bundle import recording_file
from hardwatt.bundle.model import Provenance
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import CommandError, LabError, VerifyError
from hardwatt.experiment.run.loop import cut_at_ticks
from hardwatt.experiment.testbed import cluster_checks, node_exporter, node_record
from hardwatt.experiment.testbed.node_record import NodeRecord
from hardwatt.testing.recorded_node import T0_NS, RecordedNode

T0_MS = T0_NS // 1_000_000


def at(second: float) -> int:
    return T0_MS + round(second * 1000)


@pytest.fixture
def node(tmp_path: Path) -> RecordedNode:
    return RecordedNode(tmp_path / "recording")


def work(node: RecordedNode, ticks: int) -> None:
    for _ in range(ticks):
        node.values["node", "node"] += 250_000_000
        node.tick()


def record(node: RecordedNode, before: Callable[[], None] = lambda: None) -> NodeRecord:
    def read(path: str) -> bytes:
        before()
        file = Path(path)
        if not file.exists():
            raise CommandError("base64 failed", 1)
        return file.read_bytes()

    return NodeRecord(read, str(node.file.path))


def rise(lines: bytes, tmp_path: Path, t0: float, t1: float) -> float:
    file = tmp_path / "cut"
    file.write_bytes(lines)
    recording = recording_file.read(file)
    first, last = recording.nearest(at(t0)), recording.nearest(at(t1))
    return recording.node.rise(first, last) / 1e9


def test_the_record_around_a_window_is_cut_out(node: RecordedNode, tmp_path: Path) -> None:
    work(node, 200)
    lines = record(node).around(at(100), at(130))
    assert rise(lines, tmp_path, 100, 130) == pytest.approx(7.5)
    assert len(lines) < Path(node.file.path).stat().st_size / 1.5
    recording = recording_file.read(tmp_path / "cut")
    assert int(recording.t_ns[-1]) / 1e6 >= at(130) + node_record.MARGIN_MS


def test_it_waits_until_the_record_reaches_beyond_the_window(
    node: RecordedNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work(node, 120)
    monkeypatch.setattr("hardwatt.core.wait.time.sleep", lambda _seconds: work(node, 3))
    lines = record(node).around(at(100), at(130))
    assert rise(lines, tmp_path, 100, 130) == pytest.approx(7.5)


def test_a_file_that_turned_in_the_window_is_read_with_the_one_before(node: RecordedNode, tmp_path: Path) -> None:
    work(node, 110)
    node.turn()
    work(node, 90)
    lines = record(node).around(at(100), at(130))
    assert rise(lines, tmp_path, 100, 130) == pytest.approx(7.5)


def test_a_record_that_begins_in_the_window_is_refused(node: RecordedNode) -> None:
    work(node, 60)
    with pytest.raises(LabError, match=r"does not carry the window: the recording has no tick within .* of its start"):
        record(node).around(at(1), at(30))


def test_a_node_without_a_record_is_named(node: RecordedNode) -> None:
    Path(node.file.path).unlink()
    with pytest.raises(LabError, match="the node has no record at") as caught:
        record(node).around(at(10), at(30))
    assert caught.value.hint == "invoke lab.up"


def test_a_damaged_record_is_refused_with_its_line(node: RecordedNode) -> None:
    work(node, 60)
    path = Path(node.file.path)
    path.write_bytes(path.read_bytes().replace(b'"boot-1"', b'"boot-2"', 1))
    with pytest.raises(VerifyError, match="damaged at line 1: its checksum is wrong"):
        record(node).around(at(10), at(30))


def test_the_ends_of_a_run_are_moved_to_the_ticks_of_its_record(node: RecordedNode, tmp_path: Path) -> None:
    work(node, 200)
    plan = {
        "study": "s", "seed": 1, "arms": ["a"], "window_seconds": 30,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean"},
        "runs": [{"run_id": "r", "block": 0, "position": 0, "arm": "a"}],
    }  # fmt: skip
    writer = Writer.create(tmp_path / "b", plan, Provenance(1, "rapl", "t", "", False))
    assert cut_at_ticks(writer, "r", at(100.4), at(130.4)) == (at(100.4), at(130.4))  # nothing is recorded
    writer.add_recording("r", record(node).around(at(100.4), at(130.4)))
    assert cut_at_ticks(writer, "r", at(100.4), at(130.4)) == (at(100), at(130))


def exporter_pod(name: str, *, ready: bool = True, ending: bool = False) -> Any:
    condition = SimpleNamespace(type="Ready", status=str(ready))
    meta = SimpleNamespace(name=name, deletion_timestamp="now" if ending else None)
    return SimpleNamespace(metadata=meta, status=SimpleNamespace(phase="Running", conditions=[condition]))


class Page:
    """The API server's proxy to a node exporter, whose clock is ahead; each request is counted."""

    def __init__(self) -> None:
        self.requests, self.ahead_ms, self.now_ms, self.listed = 0, 250, 1_000_000, 0
        self.slow: Iterator[int] = iter(())
        self.pods: Callable[[], list[Any]] = lambda: [exporter_pod("p")]

    def list_namespaced_pod(self, *_: Any, **__: Any) -> Any:
        self.listed += 1
        return SimpleNamespace(items=self.pods())

    def connect_get_namespaced_pod_proxy_with_path(self, pod: str, *_: Any, **__: Any) -> Any:
        self.requests += 1
        if pod.partition(":")[0] not in [one.metadata.name for one in self.pods()]:
            raise ApiException(status=404, reason="Not Found")
        self.now_ms += 20 + next(self.slow, 0)
        return SimpleNamespace(data=f"node_time_seconds {(self.now_ms - 10 + self.ahead_ms) / 1000}\n".encode())


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    page = Page()
    monkeypatch.setattr("kubernetes.client.CoreV1Api", lambda _api: page)
    return page


def exporter(page: Page) -> node_exporter.Exporter:
    return node_exporter.Exporter(None, lambda: page.now_ms)  # type: ignore[arg-type] # the double needs no client


def test_the_ends_of_a_window_ask_the_node_for_nothing(page: Page) -> None:
    own = exporter(page)
    own.read("gate", "start")
    asked = page.requests
    ends = []
    for edge in ("start", "end"):
        page.now_ms += 30_000
        ends.append(own.boundary("r", edge))
    assert page.requests == asked
    assert [end.node_ms - page.now_ms for end in ends] == [250 - 30_000, 250]
    assert all(end.values == {} and end.requested_ms == end.replied_ms for end in ends)


def test_a_clock_that_moved_in_the_window_fails_the_run(page: Page) -> None:
    own = exporter(page)
    own.boundary("r", "start")  # nobody looked before: it asks once
    assert page.requests == 1
    own.require_same_clock()
    page.ahead_ms += 700
    with pytest.raises(LabError, match=r"moved by \+700 ms"):
        own.require_same_clock()


def test_a_slow_answer_is_no_clock_that_moved(page: Page) -> None:
    own = exporter(page)
    own.read("gate", "start")
    page.slow = iter([2000, 1800])
    own.require_same_clock()
    assert page.requests == 4
    page.slow = iter([2000] * 3)
    with pytest.raises(LabError, match="the node's clock moved"):
        own.require_same_clock()


def test_an_exporter_that_an_arm_had_off_is_waited_for_and_read_under_its_new_name(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = exporter(page)
    own.read("gate", "start")
    states = iter([[], [exporter_pod("q", ready=False)], [exporter_pod("p", ending=True), exporter_pod("q")]])
    page.pods = list

    def later(_seconds: float) -> None:
        now = next(states)
        page.pods = lambda: now

    monkeypatch.setattr("hardwatt.core.wait.time.sleep", later)
    assert own.read("gate", "end").values
    assert page.listed == 5


def test_a_node_whose_exporter_does_not_come_back_is_named(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_exporter, "BACK_SECONDS", 0.0)
    page.pods = list
    with pytest.raises(LabError, match="one node exporter: not ready after 0 s; last seen: 0 are ready in monitoring"):
        exporter(page).read("gate", "start")


@pytest.mark.parametrize(
    ("found", "runs"),
    [(None, False), ({"spec": {"replicas": 0}}, False), ({"spec": {"replicas": 1}}, True), ({"spec": {}}, True)],
)
def test_prometheus_may_be_off(found: Any, runs: bool) -> None:
    cluster: Any = SimpleNamespace(get=lambda *_: found)
    assert cluster_checks.prometheus_runs(cluster) is runs
    assert cluster_checks.scrapes(None).status == "warning"
    cluster_checks.refuse([cluster_checks.scrapes(None)])
