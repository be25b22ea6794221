"""Cost of watching the node, and of what is around it on its processors, in a window of a recording."""

from collections.abc import Mapping

from hardwatt.instruments.figure import Figure
from hardwatt.instruments.interface import Found
from hardwatt.instruments.recorded_figures import CPU, summed
from hardwatt.instruments.recorded_window import Span

WATCHERS: Mapping[str, str] = {"prometheus": "prometheus-k8s-", "node-exporter": "node-exporter-"}
"""Watcher of the node beside the recorder -> how the names of its pods begin."""
MONITORING = "monitoring"
CLOCK_TICKS = 100
"""Ticks a second of /proc/stat."""


def watching(window: Span) -> Found:
    """Yield what watching costs by its own cgroups: the recorder, Prometheus and the node exporter (0: not there)."""
    recording = window.recording
    yield "recorder_cpu_seconds", summed(recording.of("self"), window, "recorder, its own cgroup or process")
    for name, prefix in WATCHERS.items():
        pods = [pod for pod in recording.of("pod") if pod.namespace == MONITORING and pod.pod.startswith(prefix)]
        yield f"watching.{name}", summed(pods, window, f"recorder, cgroups of the pods {prefix}*")


def outside(window: Span, whole: Figure | str) -> Found:
    """Yield the CPU-seconds of what is outside the node on its processors: named cgroups, and all neighbours."""
    recording = window.recording
    for name in sorted({counter.name for counter in recording.of("named")}):
        own = [counter for counter in recording.of("named") if counter.name == name]
        yield f"{name}_cpu_seconds", summed(own, window, f"recorder, the cgroup that the configuration names {name}")
    if not (hosts := recording.of("host")):
        return
    host = summed(hosts, window, "the whole host")
    if isinstance(host, str) or isinstance(whole, str):
        yield "neighbours_cpu_seconds", host if isinstance(host, str) else whole
        return
    source = "recorder, the whole host by /proc/stat (ticks) less the node: the controller and all others"
    ticks = 2 * recording.cpus / CLOCK_TICKS  # at each end a tick of each processor is open
    low, high = host.low - whole.high - ticks, host.high - whole.low + ticks
    value = host.value - whole.value
    yield "neighbours_cpu_seconds", Figure(value, CPU, source, min(low, value), max(high, value))
