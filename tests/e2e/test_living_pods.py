"""Pods of known length on the lab's node: the recorder beside what the pods counted of themselves.

Told after the story of test_story.py, before its end (conftest).
"""

import re

import pytest

from hardwatt.bundle.recording import Counter, total_rise
from tests.e2e import living_pods
from tests.e2e.living_pods import Pod, Seen, burning
from tests.e2e.support import Story

pytestmark = pytest.mark.e2e

A, B = "living-a", "living-b"
BURSTABLE = {"requests": {"cpu": "10m"}}
GUARANTEED = {name: {"cpu": "500m", "memory": "64Mi"} for name in ("requests", "limits")}
LENGTHS = (
    Pod(A, "tenth", burning(0.1), GUARANTEED), Pod(A, "half", burning(0.5), BURSTABLE),
    Pod(A, "two", burning(2)), Pod(A, "ten", burning(10)),
)  # fmt: skip
TEN = tuple(Pod(A, f"half-{number}", burning(0.5)) for number in range(10))
ODD = (
    Pod(A, "brief", "counted"),
    Pod(A, "again", living_pods.twice(0.3), restart="OnFailure"),
    Pod(A, "same.name", burning(0.2)),
    Pod(B, "same.name", burning(0.8)),
    Pod(B, living_pods.longest_name(B), burning(0.2)),
)
REMOVED = tuple(
    Pod(B, f"removed-{number}", "burn 20; sleep 60", removed_after=0.1 + 0.3 * number) for number in range(5)
)
SANDBOX_SECONDS = 0.5
"""Most that a pod's sandbox and the start of its containers may cost: 0.025 on 2 CPUs without other work."""
NOISE_SECONDS = 0.002
"""Counters are read one after the other."""


@pytest.fixture(scope="module")
def seen(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    if story.invoke("lab.status", check=False).returncode:
        story.invoke("lab.up")
    pods = [*LENGTHS, *TEN, *ODD, *REMOVED]
    return living_pods.run(story, pods, tmp_path_factory.mktemp("living"))


@pytest.mark.parametrize("pod", [*LENGTHS, *ODD], ids=lambda pod: pod.name[:9])
def test_a_pod_agrees_with_its_containers_and_its_own_last_counter(seen: Seen, pod: Pod) -> None:
    counter, last = seen.counter(pod), seen.last(pod)
    gain = seen.gain(counter)
    assert gain.low <= last <= gain.high
    assert pod.counted <= gain.high
    # The container is over before its pod's cgroup is: only the end of the sandbox may be missing.
    assert gain.value <= last + NOISE_SECONDS
    assert gain.value == pytest.approx(last, rel=0.01, abs=0.02)
    assert 0 < last - pod.counted < SANDBOX_SECONDS


@pytest.mark.parametrize("pod", [*LENGTHS, *TEN, *ODD], ids=lambda pod: f"{pod.namespace}-{pod.name[:9]}")
def test_a_pod_has_its_name_one_counter_and_its_last_value_on_the_page(seen: Seen, pod: Pod) -> None:
    counter = seen.counter(pod)
    assert (counter.namespace, counter.pod) == (pod.namespace, pod.name)
    assert counter.from_zero
    assert counter.ended is not None
    labels = f'{{namespace="{pod.namespace}",pod="{pod.name}",uid="{pod.uid}"}}'
    shown = re.search(rf"^hardwatt_pod_cpu_seconds_total{re.escape(labels)} (\S+)$", seen.page, re.MULTILINE)
    assert shown is not None
    assert float(shown[1]) == pytest.approx(int(counter.values[-1]) * counter.scale, abs=1e-6)


def test_a_name_is_as_long_as_the_kubelet_allows() -> None:
    folder = f"{B}_{ODD[-1].name}_" + 36 * "0"
    assert 250 < len(folder) <= 255
    assert "." in ODD[-1].name


def test_ten_pods_of_half_a_second_are_all_seen(seen: Seen) -> None:
    """Each has a counter; together they hold what their containers counted, and so does the parent."""
    counters = [seen.counter(pod) for pod in TEN]
    counted = sum(pod.counted for pod in TEN)
    assert counted >= 0.5 * len(TEN)
    gain = seen.gain(*counters)
    assert gain.low <= sum(seen.last(pod) for pod in TEN) <= gain.high
    assert counted <= gain.value <= counted + SANDBOX_SECONDS * len(TEN)
    assert seen.gain(seen.parent()).low >= counted


def test_node_pods_and_parent_close(seen: Seen) -> None:
    """The parent's part without a pod's counter is within 1 %, and the node holds pods, services and a rest."""
    first, last = seen.window.first, seen.window.last
    pods = total_rise(seen.recording.of("pod"), first, last)
    parent = total_rise([seen.parent()], first, last)
    services = total_rise(seen.recording.of("unit", "self"), first, last)
    node = total_rise([seen.recording.node], first, last)
    print(f"pods {pods:.3f}, parent {parent:.3f}, services {services:.3f}, node {node:.3f} CPU-seconds")
    assert parent - NOISE_SECONDS * len(seen.pods) <= pods <= parent * 1.001 + NOISE_SECONDS * len(seen.pods)
    assert pods >= 0.99 * parent
    assert node >= 0.99 * (parent + services)
    whole = sum(seen.last(pod) for pod in (*LENGTHS, *TEN, *ODD))
    assert parent >= 0.99 * whole


def test_every_reading_lies_between_two_of_another_reader(seen: Seen) -> None:
    """The other reader read each counter before and after: a counter never falls, so the value lies between."""
    compared = sum(_between(counter, seen) for counter in seen.recording.counters if counter.path in seen.watched)
    assert compared > 5 * len(seen.pods)


def _between(counter: Counter, seen: Seen) -> int:
    compared = 0
    for early, late, value in zip(counter.earliest_ns, counter.latest_ns, counter.values, strict=True):
        before = [reading for _, end, reading in seen.watched[counter.path] if end <= early]
        after = [reading for start, _, reading in seen.watched[counter.path] if start >= late]
        if before and after:
            compared += 1
            assert before[-1] <= int(value) * round(counter.scale * 1e9) <= after[0], counter.name
    return compared


def test_removed_pods_are_in_the_record(seen: Seen) -> None:
    """A pod that is removed while it begins is a counter, is unseen, or never had a cgroup."""
    known = {counter.name for counter in seen.recording.of("pod")} | {pod.uid for pod in seen.recording.unseen}
    for pod in REMOVED:
        alive = [folder for folder in seen.watched if folder.replace("_", "-").removesuffix(".slice").endswith(pod.uid)]
        assert pod.uid in known or not alive
    assert known & {pod.uid for pod in REMOVED}
