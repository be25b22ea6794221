"""Counters read directly: one GET of the node exporter through the API server's proxy."""

from collections.abc import Callable, Mapping
from typing import Any

from kubernetes import client

from hardwatt.bundle.exposition import labels_of, parse_exposition
from hardwatt.bundle.model import Edge
from hardwatt.cluster.objects import api_errors
from hardwatt.core.errors import LabError

NAMESPACE, SELECTOR, PORT = "monitoring", "app.kubernetes.io/name=node-exporter", 9100
PREFIXES = ("hardwatt_", "node_rapl_", "node_time_seconds")
NODE_TIME = "node_time_seconds"
METER_INFO = "hardwatt_meter_info"


class Exporter:
    """The node exporter of the lab's node."""

    def __init__(self, api: client.ApiClient, now_ms: Callable[[], int]) -> None:
        self._core: Any = client.CoreV1Api(api)  # answers are read raw
        self._now = now_ms
        self._pod = ""

    def read(self, run_id: str, edge: Any) -> Edge:
        """Return the counters, with the times around the request.

        Raises ``LabError`` where there is no exporter or it does not show the node's time.
        """
        pod, self._pod = self._pod or self._find(), ""  # looked for again after an error
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
        return Edge(run_id, edge, requested, replied, round(values[NODE_TIME] * 1000), values)

    def _find(self) -> str:
        with api_errors("looking for the node exporter"):
            pods = self._core.list_namespaced_pod(NAMESPACE, label_selector=SELECTOR, _request_timeout=10).items
        running = [pod.metadata.name for pod in pods if pod.status.phase == "Running"]
        if len(running) != 1:
            raise LabError(f"{len(running)} node exporters run in {NAMESPACE}, not one", hint="invoke lab.status")
        return str(running[0])


def meter_info(values: Mapping[str, float]) -> dict[str, str]:
    """Return the labels of the meter's info series: ``source``, ``model``, ... (empty: no meter)."""
    labels = [labels_of(series) for series in values if series.startswith(METER_INFO + "{")]
    return {key: value for key, value in labels[0].items() if key != "__name__"} if len(labels) == 1 else {}
