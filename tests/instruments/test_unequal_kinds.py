"""Counters of the node's CPU time of unequal kinds: each misses something else, so they never meet in one number."""

import zlib
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hardwatt.analysis import comparison, pooling_rules
from hardwatt.analysis.results import analysed
from hardwatt.bundle.model import Provenance, Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import LabError
from hardwatt.instruments.recorder import SOURCES, node_kind
from hardwatt.report.render import markdown
from hardwatt.testing.recorded_node import T0_NS, RecordedNode

PAIRS = list(permutations(SOURCES, 2))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A recording of a minute whose counter is the machine's own cgroup."""
    path = tmp_path_factory.mktemp("recorded") / "recording"
    node = RecordedNode(path)
    for _ in range(60):
        node.values["node", "node"] += 250_000_000
        node.tick()
    return path.read_bytes()


def of_kind(recording: bytes, kind: str) -> bytes:
    """Return the recording as one of another kind of counter."""
    lines = []
    for raw in recording.splitlines():
        body = raw.partition(b" ")[2].replace(b'"machine-cgroup"', f'"{kind}"'.encode())
        lines.append(b"%08x %s\n" % (zlib.crc32(body), body))
    return b"".join(lines)


def bundle(folder: Path, recording: bytes, kinds: Sequence[str]) -> Bundle:
    """A bundle of a run of each kind, in the arms push and pull."""
    base = T0_NS // 1_000_000
    runs = [
        Run(f"r{n}", n // 2, n % 2, ("push", "pull")[n % 2], 0, "done", "", start, start + 15_000)
        for n, start in ((n, base + 8000 + 20_000 * n) for n in range(len(kinds)))
    ]  # fmt: skip
    plan: dict[str, Any] = {
        "study": "s", "seed": 1, "arms": ["push", "pull"], "window_seconds": 15,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean paired difference"},
        "runs": [{"run_id": r.run_id, "block": r.block, "position": r.position, "arm": r.arm} for r in runs],
    }  # fmt: skip
    writer = Writer.create(folder, plan, Provenance(1, "rapl", "t", "", False, host={"cpus": 2}))
    for run, kind in zip(runs, kinds, strict=True):
        writer.add_recording(run.run_id, of_kind(recording, kind))
        writer.add_run(run)
    writer.finish()
    return Bundle.open(folder)


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_windows_of_unequal_kinds_are_no_pair_and_the_report_says_so(
    first: str, second: str, plain: bytes, tmp_path: Path
) -> None:
    results = analysed(bundle(tmp_path / "b", plain, [first, second]).path)
    assert results.n.value == 0
    (reason,) = [row.reason for row in results.exclusions if row.run == "r1"]
    for text in (reason, markdown(results).replace("\\", "")):
        assert SOURCES[second] in text
        assert SOURCES[first] in text
        assert "unequal kinds are not compared" in text


@pytest.mark.parametrize("kind", SOURCES)
def test_windows_of_one_kind_are_a_pair(kind: str, plain: bytes, tmp_path: Path) -> None:
    made = bundle(tmp_path / "b", plain, [kind, kind])
    assert node_kind(made) == kind
    assert analysed(made.path).n.value == 1


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_bundles_of_unequal_kinds_are_neither_compared_nor_pooled(
    first: str, second: str, plain: bytes, tmp_path: Path
) -> None:
    made = [bundle(tmp_path / name, plain, [kind, kind]) for name, kind in (("a", first), ("b", second))]
    words = f"{SOURCES[first]} and from {SOURCES[second]}"
    with pytest.raises(LabError, match="a and b cannot be compared") as compared:
        comparison.compared([one.path for one in made])
    assert words in compared.value.message
    with pytest.raises(LabError, match="a and b cannot be pooled") as pooled:
        pooling_rules._refuse_other_counters(list(zip("ab", made, strict=True)))
    assert words in pooled.value.message
    assert pooled.value.hint == "hardwatt report a"


def test_a_bundle_that_does_not_say_its_kind_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third is held against the first that says it."""
    monkeypatch.setattr(pooling_rules, "node_kind", lambda bundle: bundle.kind)
    named: Any = [(kind or "none", SimpleNamespace(kind=kind)) for kind in ("", "schedstat", "procstat")]
    with pytest.raises(LabError, match="schedstat and procstat cannot be pooled"):
        pooling_rules._refuse_other_counters(named)
    pooling_rules._refuse_other_counters(named[:2])
