"""The recorder's file, written by the meter's writer and read by the bundle's reader."""

import gzip
import itertools
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardwatt.bundle import recording_file
from hardwatt.bundle.recording import Recording, total_rise
from hardwatt.core.errors import VerifyError
from hardwatt.meter import record_file
from hardwatt.testing.recorded_node import T0_NS, RecordedNode

NODE, POD = ("node", "node"), ("pod", "uid-1")


@pytest.fixture
def node(tmp_path: Path) -> RecordedNode:
    return RecordedNode(tmp_path / "recording")


def read(node: RecordedNode) -> Recording:
    return recording_file.read(Path(node.file.path))


def work(node: RecordedNode, ticks: int, cpu_ns: int = 100_000_000) -> None:
    for _ in range(ticks):
        node.values[NODE] += cpu_ns
        node.tick()


def lines(node: RecordedNode) -> list[bytes]:
    return Path(node.file.path).read_bytes().splitlines(keepends=True)


def test_what_was_written_is_read(node: RecordedNode) -> None:
    work(node, 3)
    recording = read(node)
    assert (recording.node_kind, recording.boot, recording.cpus, recording.tick_seconds) == (
        "machine-cgroup",
        "boot-1",
        2,
        1.0,
    )
    assert recording.t_ns.tolist() == [T0_NS + second * 10**9 for second in (6, 7, 8)]
    assert recording.m_ns.tolist() == [6 * 10**9, 7 * 10**9, 8 * 10**9]
    assert recording.span_ns.tolist() == [500_000] * 3
    assert recording.node.values.tolist() == [1_100_000_000, 1_200_000_000, 1_300_000_000]
    assert total_rise([recording.node], 0, 2) == pytest.approx(0.2)
    assert (recording.bound_bytes, recording.at_bound) == (1 << 20, record_file.AT_BOUND)
    assert not recording.torn


def test_a_reading_has_the_moments_before_and_after_it(node: RecordedNode) -> None:
    node.values[POD] = 7
    work(node, 2)
    recording = read(node)
    (pod,) = recording.of("pod")
    reading = recording.reading(pod, 0)
    assert reading is not None
    assert (reading.value, reading.earliest_ns, reading.latest_ns) == (7, 6_000_020_000, 6_000_025_000)
    unmoved = recording.reading(pod, 1)
    assert unmoved is not None
    assert (unmoved.value, unmoved.earliest_ns, unmoved.latest_ns) == (7, 7_000_000_000, 7_000_500_000)


def test_a_counter_that_did_not_move_is_not_written_again(node: RecordedNode) -> None:
    node.values[POD] = 7
    work(node, 59)
    assert sum(b'"full"' in line for line in lines(node)) == 1
    assert read(node).of("pod")[0].ticks.tolist() == [0]
    assert read(node).of("pod")[0].rise(0, 58) == 0


def test_a_pod_that_comes_and_goes_counts_from_zero_to_its_last_value(node: RecordedNode) -> None:
    work(node, 2)
    node.values[POD] = 30
    work(node, 2)
    node.values[POD] = 50
    work(node, 1)
    node.end(*POD)
    work(node, 2)
    recording = read(node)
    (pod,) = recording.of("pod")
    assert pod.from_zero
    assert pod.ended is not None
    assert (pod.ended.tick, pod.ended.m_ns) == (5, 10 * 10**9)
    assert [pod.rise(1, tick) for tick in range(1, 7)] == [0, 30, 30, 50, 50, 50]
    last = recording.reading(pod, 6)
    assert last is not None
    assert last.latest_ns < recording.m_ns[5]


def test_a_pod_that_was_there_at_the_start_does_not_count_from_zero(node: RecordedNode) -> None:
    node.values[POD] = 1000
    work(node, 1)
    node.values[POD] = 1010
    work(node, 1)
    assert read(node).of("pod")[0].rise(0, 1) == 10


def test_a_zone_that_is_first_read_late_is_not_told_from_zero(node: RecordedNode) -> None:
    work(node, 2)
    node.values["energy", "intel-rapl:0"] = 500
    work(node, 2)
    (zone,) = read(node).of("energy")
    assert zone.rise(2, 3) == 0
    with pytest.raises(VerifyError, match="first read at tick 2, after tick 1"):
        zone.rise(1, 3)


def test_a_name_that_arrives_late_is_the_pods(node: RecordedNode) -> None:
    node.values[POD] = 1
    work(node, 2)
    node.line({"k": "name", "id": node.ids[POD], "namespace": "default", "pod": "job-1"})
    work(node, 1)
    (pod,) = read(node).of("pod")
    assert (pod.namespace, pod.pod, pod.name) == ("default", "job-1", "uid-1")


def test_a_pod_between_two_ticks_is_known_by_its_logs(node: RecordedNode) -> None:
    work(node, 2)
    node.line({"k": "unseen", "uid": "uid-9", "namespace": "default", "pod": "short"})
    work(node, 1)
    (pod,) = read(node).unseen
    assert (pod.uid, pod.namespace, pod.pod, pod.tick) == ("uid-9", "default", "short", 1)


def test_counters_that_wrap(node: RecordedNode) -> None:
    key = ("energy", "intel-rapl:0")
    node.more[key] = {"wraps_at": 1000, "counted": True, "zone": "package-0"}
    for joules in (900, 980, 60, 140, 20):
        node.values[key] = joules
        work(node, 1)
    (zone,) = read(node).of("energy")
    assert [zone.rise(0, tick) for tick in range(5)] == [0, 80, 160, 240, 1120]
    assert zone.rise(2, 4) == 960
    assert zone.scale == 1e-6
    assert zone.counted


def test_a_recording_continues_over_a_restart_that_it_marks(node: RecordedNode) -> None:
    node.values[POD] = 5
    work(node, 3)
    node.m_ns += 4 * 10**9
    node.start()
    node.values["pod", "uid-2"] = 9
    work(node, 2)
    recording = read(node)
    assert [process.first_tick for process in recording.processes] == [0, 3]
    assert recording.restarts(0, 4) == recording.processes[1:]
    assert recording.restarts(3, 4) == ()
    assert recording.gaps(0, 4) == ((3, 5.0),)
    assert recording.numbers.tolist() == [0, 1, 2, 0, 1]
    assert total_rise([recording.node], 0, 4) == pytest.approx(0.4)
    # The second pod began while nobody read: what it held was used since the last tick before.
    assert {pod.name: pod.rise(0, 4) for pod in recording.of("pod")} == {"uid-1": 0, "uid-2": 9}


def test_a_unit_that_is_started_anew_is_another_counter(node: RecordedNode) -> None:
    key = ("unit", "kubelet.service")
    node.values[key], node.more[key] = 800, {"life": "11"}
    work(node, 2)
    node.end(*key)
    node.values[key], node.more[key] = 30, {"life": "12"}
    work(node, 1)
    units = read(node).of("unit")
    assert [unit.from_zero for unit in units] == [False, True]
    assert sum(unit.rise(0, 2) for unit in units) == 30


def test_a_torn_last_record_is_dropped(node: RecordedNode, tmp_path: Path) -> None:
    work(node, 3)
    whole = Path(node.file.path).read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last + 1, len(whole)):
        (tmp_path / "torn").write_bytes(whole[:length])
        recording = recording_file.read(tmp_path / "torn")
        assert recording.torn
        assert len(recording.m_ns) == 2


def test_a_torn_last_record_is_cut_off_by_the_next_process(node: RecordedNode) -> None:
    work(node, 3)
    path = Path(node.file.path)
    path.write_bytes(path.read_bytes()[:-5])
    node.start()
    work(node, 1)
    recording = read(node)
    assert not recording.torn
    assert recording.numbers.tolist() == [0, 1, 0]


def test_at_the_bound_another_file_goes_on(node: RecordedNode) -> None:
    node.values[POD] = 5
    work(node, 4)
    node.turn()
    work(node, 3)
    earlier = Path(node.file.path + record_file.EARLIER)
    recording = recording_file.read(earlier, Path(node.file.path))
    assert recording.numbers.tolist() == list(range(7))
    assert len(recording.processes) == 1
    assert total_rise([recording.node], 0, 6) == pytest.approx(0.6)
    assert read(node).numbers.tolist() == [4, 5, 6]
    assert not node.file.fits(node.file.bound)


def test_a_file_that_another_boot_left_becomes_the_earlier_one(node: RecordedNode, tmp_path: Path) -> None:
    work(node, 2)
    other = RecordedNode(tmp_path / "recording", boot="boot-2")
    work(other, 1)
    assert read(other).boot == "boot-2"
    with pytest.raises(VerifyError, match="after another boot"):
        recording_file.read(tmp_path / "recording.1", tmp_path / "recording")


def test_a_file_that_is_not_a_recording_becomes_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "recording").write_text("something else\n")
    node = RecordedNode(tmp_path / "recording")
    work(node, 1)
    assert len(read(node).m_ns) == 1
    assert (tmp_path / "recording.1").read_text() == "something else\n"


def test_every_changed_byte_of_a_whole_line_is_refused(node: RecordedNode, tmp_path: Path) -> None:
    work(node, 2)
    data = Path(node.file.path).read_bytes()
    for place in range(len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 1
        (tmp_path / "changed").write_bytes(changed)
        with pytest.raises(VerifyError, match="is damaged at line"):
            recording_file.read(tmp_path / "changed")


def test_a_missing_line_is_refused(node: RecordedNode, tmp_path: Path) -> None:
    work(node, 4)
    kept = lines(node)
    for place in range(len(kept) - 1):
        (tmp_path / "short").write_bytes(b"".join(kept[:place] + kept[place + 1 :]))
        with pytest.raises(VerifyError, match="is damaged at line"):
            recording_file.read(tmp_path / "short")


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"k": "surprise"}, "unknown kind 'surprise'"),
        ({"k": "ended", "id": 77, "m": 1}, "counter 77 was not declared"),
        ({"k": "ended", "id": 1}, "m is missing"),
        ({"k": "ended", "id": 1, "m": 1, "x": 1}, "the key 'x' is unknown"),
        ({"k": "ended", "id": 1, "m": -1}, "m is -1"),
        ({"k": "name", "id": 1, "namespace": "a\x1b[31m", "pod": "b"}, "namespace is"),
        ({"k": "counter", "id": 9, "of": "pot", "name": "x", "unit": "ns", "source": "cgroup"}, "of is 'pot'"),
        ({"k": "r", "n": 3, "t": 1, "m": 1 << 60, "d": 1, "v": []}, "record 2 was expected"),
        ({"k": "r", "n": 1, "t": 1, "m": 1 << 60, "d": 1, "v": []}, "record 2 was expected"),
        ({"k": "r", "n": 2, "t": 1, "m": 5, "d": 1, "v": []}, "monotonic clock did not advance"),
        ({"k": "r", "n": 2, "t": 1, "m": 1 << 60, "d": 1, "v": [[1, 0, 0, 1]]}, "node counter node fell"),
        ({"k": "r", "n": 2, "t": 1, "m": 1 << 60, "d": 1, "v": [[1, 0, 0, 1.5]]}, "not four whole numbers"),
        ({"k": "r", "n": 2, "t": 1, "m": 1 << 60, "d": 1, "v": [[1, 0, 0, 1 << 70]]}, "not four whole numbers"),
    ],
)
def test_a_line_that_cannot_be_is_refused_by_name(node: RecordedNode, line: dict[str, object], text: str) -> None:
    work(node, 2)
    node.line(line)
    with pytest.raises(VerifyError, match=r"the recording 'recording' is damaged at line \d+: ") as caught:
        read(node)
    assert text in caught.value.message
    assert caught.value.message.isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([1 << 61, 1 << 80]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@settings(deadline=None, derandomize=True, max_examples=150)  # a busy machine is no fault of the reader
@given(place=st.integers(0, 20), key=st.integers(0, 20), value=JSON, deeper=st.booleans())
def test_any_value_in_any_line_is_read_or_refused(place: int, key: int, value: object, deeper: bool) -> None:
    """A stranger can write lines with right checksums: nothing but VerifyError comes of them."""
    with tempfile.TemporaryDirectory() as folder:
        node = RecordedNode(Path(folder) / "recording")
        node.values[POD], node.values["energy", "intel-rapl:0"] = 7, 900
        node.more["energy", "intel-rapl:0"] = {"wraps_at": 1000}
        work(node, 3)
        node.line({"k": "name", "id": node.ids[POD], "namespace": "default", "pod": "job-1"})
        node.values["energy", "intel-rapl:0"] = 5
        node.end(*POD)
        work(node, 2)
        decoded = [record_file.decode(line[:-1]) for line in lines(node)]
        target = decoded[place % len(decoded)]
        name = sorted(target)[key % len(target)]
        if deeper and isinstance(target[name], list) and target[name]:
            target[name][0] = value
        else:
            target[name] = value
        path = Path(node.file.path)
        path.write_bytes(b"".join(record_file.encode(line) for line in decoded))
        try:
            recording = recording_file.read(path)
            assert all(counter.rise(counter.first_tick, len(recording.m_ns) - 1) >= 0 for counter in recording.counters)
        except VerifyError as error:
            assert error.message.isprintable()


def test_a_line_that_is_nested_deeply_is_refused(node: RecordedNode) -> None:
    work(node, 1)
    text = b'{"k":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    node.file.write(b"%08x %s\n" % (zlib.crc32(text), text))
    with pytest.raises(VerifyError, match="is damaged at line"):
        read(node)


def test_after_a_failed_write_the_next_record_is_full(node: RecordedNode) -> None:
    work(node, 2)
    node.number, node.written = 5, {}
    work(node, 1)
    assert read(node).numbers.tolist() == [0, 1, 5]


def test_an_empty_file_and_one_without_records_are_refused(node: RecordedNode, tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="holds no reading of the node"):
        read(node)
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(VerifyError, match="'empty' is empty"):
        recording_file.read(tmp_path / "empty")


def test_two_kinds_of_node_time_are_not_one_recording(node: RecordedNode) -> None:
    work(node, 2)
    node.start()
    node.more[NODE] = {"source": "procstat", "unit": "ticks"}
    work(node, 1)
    with pytest.raises(VerifyError, match="read from machine-cgroup and then from procstat"):
        read(node)


def test_a_stepped_clock_is_known_by_the_other_one(node: RecordedNode) -> None:
    work(node, 3)
    node.step_ns = -3_000_000_000
    work(node, 2)
    recording = read(node)
    assert recording.clock_steps() == ((3, -3.0),)
    assert recording.seconds(0, 4) == 4.0


def test_a_window_is_cut_out_and_read_alone(node: RecordedNode, tmp_path: Path) -> None:
    node.values[POD] = 1
    for minute in range(4):
        work(node, 30)
        node.values[POD] += 10
        work(node, 30)
        if minute == 1:
            node.turn()
    paths = [Path(node.file.path + record_file.EARLIER), Path(node.file.path)]
    whole = recording_file.read(*paths)
    t0, t1 = (float(whole.t_ns[tick]) / 1e6 for tick in (70, 200))
    (tmp_path / "cut").write_bytes(gzip.compress(recording_file.cut(paths, t0, t1)))
    part = recording_file.read(tmp_path / "cut")
    assert (part.numbers[0], part.numbers[-1]) == (60, 201)
    first, last = part.nearest(t0), part.nearest(t1)
    assert part.numbers[[first, last]].tolist() == [70, 200]
    assert part.node.rise(first, last) == whole.node.rise(70, 200)
    assert part.of("pod")[0].rise(first, last) == whole.of("pod")[0].rise(70, 200) == 20


def test_a_thousand_windows_hold_what_was_used(node: RecordedNode) -> None:
    """Work of an uneven pace; every window between two ticks holds exactly what was used between them."""
    used = [(7919 * second) % 1_000_003 for second in range(1100)]
    node.values[POD] = 0
    for amount in used:
        node.values[NODE] += amount
        node.values[POD] += amount // 2
        node.tick()
    recording = read(node)
    totals = list(itertools.accumulate(used))
    halves = list(itertools.accumulate(amount // 2 for amount in used))
    for first in range(1000):
        last = first + 1 + first % 99
        assert recording.node.rise(first, last) == totals[last] - totals[first]
        assert recording.of("pod")[0].rise(first, last) == halves[last] - halves[first]
        assert recording.nearest(recording.t_ns[first] / 1e6) == first
