"""Known CPU-seconds on a real node, and what each instrument recovered of them.

Takes ten minutes: in ``make test-long``. The table of short pods is written to ``results/ephemeral-pods.md``;
docs/energy.md cites one.
"""

import platform
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.support import ROOT, Story
from tests.e2e.windows import Seen, Windows, burnt, start_pod, wait_phase, windows

pytestmark = [pytest.mark.e2e, pytest.mark.long]

QUIET = 30
PODS = {0.5: 10, 2.0: 6, 10.0: 3}
"""CPU-seconds that a pod burns -> how many such pods, one after the other."""


@pytest.fixture(scope="module")
def up(story: Story) -> Iterator[Story]:
    story.invoke("lab.up")
    yield story
    story.invoke("lab.forward", "prometheus", "--stop")


def test_sixty_cpu_seconds_are_sixty_cpu_seconds(up: Story, tmp_path: Path) -> None:
    """In ``cgroup`` within 2 %, in ``node`` less the windows around it within 5 %, joules by the formula within 1 %."""
    with windows(up.lab, "truth") as seen:
        start_pod(seen, "truth", "burn", f"sleep {QUIET + 20}; burn 6000; sleep 900")
        wait_phase(seen, "truth", "burn", "Running", 60)
        seen.quiet("before", QUIET)
        seen.during("burning", lambda: burnt(seen, "truth", "burn", timeout=400))
        seen.quiet("after", QUIET)
        true = burnt(seen, "truth", "burn")
        found = Seen(seen.bundle(tmp_path / "b"))
    assert true == pytest.approx(60, abs=0.1)
    assert found.get("burning", "cpu_seconds.truth").value == pytest.approx(true, rel=0.02)
    above = found.above("burning", "node_cpu_seconds", ("before", "after"))
    print(
        f"node {above:.2f}, cgroup {found.get('burning', 'cpu_seconds.truth').value:.2f}, true {true:.2f} CPU-seconds"
    )
    assert above == pytest.approx(true, rel=0.05)
    for name in ("before", "burning", "after"):
        assert found.get(name, "check.joules_of_formula").value == pytest.approx(1, rel=0.01)
    sentences = {check.name: check.sentence for check in found.checks if check.run_id == "burning" and not check.holds}
    assert not sentences.keys() & {"closure.pods_of_kubepods", "check.cpu_lost_of_node", "check.resets"}, sentences


def test_pods_that_live_shortly(up: Story, tmp_path: Path) -> None:
    """What ``cgroup`` finds lies within its bounds; all pods' own counter and the node's miss nothing."""
    spaces = {seconds: f"short-{seconds:g}".replace(".", "-") for seconds in PODS}
    true: dict[float, float] = {}
    with windows(up.lab, *spaces.values()) as seen:
        seen.quiet("quiet-0", QUIET)
        for number, (seconds, space) in enumerate(spaces.items(), 1):
            seen.during(space, partial(_run_pods, seen, space, seconds))
            true[seconds] = sum(burnt(seen, space, name) for name in _names(seconds))
            seen.quiet(f"quiet-{number}", QUIET)
        found = Seen(seen.bundle(tmp_path / "b"))
    rows = []
    for number, (seconds, space) in enumerate(spaces.items(), 1):
        around = f"quiet-{number - 1}", f"quiet-{number}"
        pods = found.get(space, f"cpu_seconds.{space}")
        parent = found.above(space, "cpu_seconds.kubepods", around)
        node = found.above(space, "node_cpu_seconds", around)
        whole = true[seconds]
        rows.append(_row(seconds, whole, (pods.value, pods.low, pods.high), parent, node))
        assert pods.high >= 0.98 * whole
        assert parent >= 0.9 * whole
        assert node >= 0.9 * whole
    assert found.get(spaces[10.0], f"cpu_seconds.{spaces[10.0]}").value >= 0.8 * true[10.0]
    _write(rows, found.refused.get((spaces[10.0], "kepler_joules.*"), "not there"))


def _names(seconds: float) -> list[str]:
    return [f"p{number}" for number in range(PODS[seconds])]


def _run_pods(seen: Windows, namespace: str, seconds: float) -> None:
    """Run the pods of one length one after the other, each to its end."""
    for name in _names(seconds):
        start_pod(seen, namespace, name, f"burn {round(seconds * 100)}")
        wait_phase(seen, namespace, name, "Succeeded", 120)


def _row(seconds: float, true: float, pods: tuple[float, float, float], parent: float, node: float) -> str:
    shares = [f"{part / true:.0%}".replace("%", " %") for part in (*pods, parent, node)]
    value, low, high, all_pods, whole = shares
    return f"| {PODS[seconds]} x {seconds:g} s | {true:.2f} | {value} ({low} to {high}) | {all_pods} | {whole} |"


def _write(rows: list[str], kepler: str) -> None:
    """Write the table of this run beside the results of experiments."""
    text = "\n".join(
        [
            "| pods | burnt, CPU-seconds | `cgroup`: the pods seen | all pods' own counter | `node` |",
            "|---|--:|--:|--:|--:|",
            *rows,
            "",
            "Shares of what the pods' processes burnt; the last two less the quiet windows around.",
            f"`kepler`: {kepler}. Linux {platform.release()}.",
        ]
    )
    file = ROOT / "results" / "ephemeral-pods.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text + "\n")
    print(text)
