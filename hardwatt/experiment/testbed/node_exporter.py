"""Counters read directly: one GET of the node exporter through the API server's proxy."""

from collections.abc import Callable, Mapping
from typing import Any

from kubernetes import client

from hardwatt.bundle.exposition import labels_of, parse_exposition
from hardwatt.bundle.model import Edge
from hardwatt.cluster.objects import api_errors
from hardwatt.core.errors import LabError
from hardwatt.core.wait import wait

NAMESPACE, SELECTOR, PORT = "monitoring", "app.kubernetes.io/name=node-exporter", 9100
PREFIXES = ("hardwatt_", "node_rapl_", "node_time_seconds")
NODE_TIME = "node_time_seconds"
COMPARISONS = 3
BACK_SECONDS = 30.0
CLOCK_MOVED_MS = 500.0
"""The clocks may move against each other by so much in a window."""
METER_INFO = "hardwatt_meter_info"


class Exporter:
    """The node exporter of the lab's node."""

    def __init__(self, api: client.ApiClient, now_ms: Callable[[], int]) -> None:
        self._core: Any = client.CoreV1Api(api)  # answers are read raw
        self._now = now_ms
        self._pod = ""
        self._offset_ms: float | None = None

    def read(self, run_id: str, edge: Any) -> Edge:
        """Return the counters, with the times around the request.

        A pod that was replaced since the last reading is searched for again. Raises ``LabError`` where there is no
        exporter or it does not show the node's time.
        """
        known, self._pod = self._pod, ""
        try:
            return self._read(known or self._find(), run_id, edge)
        except LabError:
            if not known:
                raise
        return self._read(self._find(), run_id, edge)

    def _read(self, pod: str, run_id: str, edge: Any) -> Edge:
        requested = self._now()
        with api_errors("reading the node exporter"):
            answer = self._core.connect_get_namespaced_pod_proxy_with_path(
                f"{pod}:{PORT}", NAMESPACE, "metrics", _preload_content=False, _request_timeout=10
            )
            text = answer.data.decode()
        replied = self._now()
        self._pod = pod
        values = parse_exposition(text, PREFIXES)
        if NODE_TIME not in values:
            raise LabError("the node exporter does not show the node's time (its collector 'time' is off)")
        node_ms = round(values[NODE_TIME] * 1000)
        self._offset_ms = node_ms - (requested + replied) / 2
        return Edge(run_id, edge, requested, replied, node_ms, values)

    def boundary(self, run_id: str, edge: Any) -> Edge:
        """Return one end of a window: this moment by the node's clock, without a counter of the node.

        The clocks were compared when the counters were last read, at the gate; only where nobody did is the node asked.
        """
        if self._offset_ms is None:
            self.read(run_id, edge)
        now = self._now()
        return Edge(run_id, edge, now, now, self.node_ms(now), {})

    def node_ms(self, at_ms: int | None = None) -> int:
        """Return a moment of this machine's clock, now by default, by the node's."""
        return round((self._now() if at_ms is None else at_ms) + (self._offset_ms or 0.0))

    def require_same_clock(self) -> None:
        """Compare the clocks again, after a window.

        A slow answer looks like a clock that moved, so the comparison is made anew before it counts.

        Raises ``LabError`` where the clocks moved against each other: the window's ends are then not where it says.
        """
        before, moved = self._offset_ms, 0.0
        for _ in range(COMPARISONS):
            self.read("clock", "end")
            moved = 0.0 if before is None or self._offset_ms is None else self._offset_ms - before
            if abs(moved) <= CLOCK_MOVED_MS:
                return
        raise LabError(f"the node's clock moved by {moved:+.0f} ms against this machine's in the window",
                       hint="let both clocks be synchronised; the run is repeated")  # fmt: skip

    def _find(self) -> str:
        """Return the name of the one exporter that is ready. An arm may have had it off: wait until it is back."""
        names = wait(
            self._ready,
            lambda names: len(names) == 1,
            what="one node exporter",
            timeout=BACK_SECONDS,
            delay=0.5,
            describe=lambda names: f"{len(names)} are ready in {NAMESPACE}",
            hint="invoke lab.status",
        )
        return names[0]

    def _ready(self) -> list[str]:
        with api_errors("looking for the node exporter"):
            pods = self._core.list_namespaced_pod(NAMESPACE, label_selector=SELECTOR, _request_timeout=10).items
        return [
            str(pod.metadata.name)
            for pod in pods
            if not pod.metadata.deletion_timestamp
            and any(part.type == "Ready" and part.status == "True" for part in pod.status.conditions or ())
        ]


def meter_info(values: Mapping[str, float]) -> dict[str, str]:
    """Return the labels of the meter's info series: ``source``, ``model``, ... (empty: no meter)."""
    labels = [labels_of(series) for series in values if series.startswith(METER_INFO + "{")]
    return {key: value for key, value in labels[0].items() if key != "__name__"} if len(labels) == 1 else {}
