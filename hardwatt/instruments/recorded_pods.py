"""CPU-seconds of a recorded window by unit and by namespace, and how they add up to the node's."""

from collections.abc import Iterator, Sequence

from hardwatt.bundle.recording import Counter
from hardwatt.instruments.cgroup import within
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.interface import Found
from hardwatt.instruments.recorded_figures import CPU, ratio, signed_ratio, summed, together
from hardwatt.instruments.recorded_window import Span

_UNKNOWN = "(unknown)"


def units(window: Span) -> Iterator[tuple[str, Figure | str]]:
    """Yield each unit with its CPU-seconds. One that was restarted has several counters."""
    by_name: dict[str, list[Counter]] = {}
    for counter in window.recording.of("unit"):
        by_name.setdefault(counter.name, []).append(counter)
    for name, counters in sorted(by_name.items()):
        yield name, summed(counters, window, f"recorder, cgroup or processes of {name}")


def pods(window: Span, whole: Figure | str, services: Sequence[Figure]) -> Found:
    """Yield CPU-seconds by namespace, of all pods, and the ratios in which the counters close."""
    by_namespace: dict[str, list[Counter]] = {}
    for counter in window.recording.of("pod"):
        by_namespace.setdefault(counter.namespace or _UNKNOWN, []).append(counter)
    parts = {name: summed(own, window, "recorder, cgroups of pods") for name, own in sorted(by_namespace.items())}
    for name, part in parts.items():
        if isinstance(part, str):
            yield f"cpu_seconds.{name}", part
    known = {name: part for name, part in parts.items() if isinstance(part, Figure)}
    parents = [counter for counter in window.recording.of("pods") if counter.name == "kubepods"]
    parent = summed(parents, window, "recorder, the cgroup of all pods") if parents else "it has no cgroup of all pods"
    if len(known) < len(parts):
        return
    narrowed = within(known, parent) if isinstance(parent, Figure) else known
    for name, part in narrowed.items():
        yield f"cpu_seconds.{name}", part
    pods = together(list(known.values()), "recorder, cgroups of pods")
    yield "cpu_seconds.pods", pods
    if isinstance(parent, str):
        yield "closure.pods_of_kubepods", parent
        return
    yield "cpu_seconds.kubepods", parent
    source = "kubepods' own counter less its pods"
    lost = Figure(parent.value - pods.value, CPU, source, parent.low - pods.high, parent.high - pods.low)
    yield "cpu_seconds.unseen_in_pods", lost
    yield "closure.pods_of_kubepods", ratio(pods, parent, "pods by kubepods' own counter")
    if isinstance(whole, Figure):
        yield "closure.kubepods_of_node", ratio(parent, whole, "kubepods' own counter by the node's")
        yield "check.cpu_lost_of_node", signed_ratio(lost, whole)
        every = together([parent, *services], "pods and services")
        yield "closure.attributed_of_node", ratio(every, whole, "pods and services by the node's counter")
