"""A small stand-in for Prometheus' API on loopback. It keeps the rules that a dump must live with."""

import json
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

T0 = 1_790_000_000_000
_RANGE = re.compile(r"(?P<name>[a-z_0-9]*)(?P<matchers>\{.*\})?\[(?P<ms>\d+)ms\]")
_NAMED = re.compile(r'__name__="([a-z_0-9]+)"')


class Server(ThreadingHTTPServer):
    """Holds series as (labels, [(ms, value text)]). An unplanned path or query is answered with 500."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.series: list[tuple[dict[str, str], list[tuple[int, str]]]] = []
        self.left_open = True
        self.most_points = 11_000
        self.most_samples = 50_000_000
        self.faults: list[tuple[int, str]] = []
        self.delays: list[float] = []
        self.down = threading.Event()
        self.dropped = "nothing"
        self.failing: Callable[[], bool] = lambda: False
        self.failed = 0
        self.queries: list[str] = []
        self.headers_seen: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, labels: dict[str, str], start: int, step_ms: int, values: list[str]) -> None:
        self.series.append((labels, [(start + i * step_ms, value) for i, value in enumerate(values)]))

    def answer(self, query: str, at_ms: int) -> tuple[int, dict[str, Any]]:
        """Return status and body for an instant query."""
        if query.startswith("max(timestamp("):
            newest = max(
                (samples[-1][0] for labels, samples in self.series if labels["__name__"] in query), default=None
            )
            value = [] if newest is None else [{"metric": {}, "value": [at_ms / 1000, str(newest / 1000)]}]
            return 200, _success("vector", value)
        if query == "1":
            return 200, _success("scalar", [at_ms / 1000, "1"])
        if query == "prometheus_build_info":
            return 200, _success("vector", [{"metric": {"version": "3.0.0"}, "value": [at_ms / 1000, "1"]}])
        if query.startswith("last_over_time(hardwatt_meter_info"):
            rows = [{"metric": labels, "value": [0, "1"]} for labels, _ in self.series if "source" in labels]
            return 200, _success("vector", rows)
        match = _RANGE.fullmatch(query)
        if match is None:
            return 400, {"status": "error", "errorType": "bad_data", "error": f"cannot parse {query}"}
        begin = at_ms - int(match["ms"])
        named = _NAMED.search(match["matchers"] or "")
        name = match["name"] or (named[1] if named else "")
        result, total = [], 0
        for labels, samples in self.series:
            if labels["__name__"] != name:
                continue
            found = [(ms, v) for ms, v in samples if (begin < ms if self.left_open else begin <= ms) and ms <= at_ms]
            total += len(found)
            if len(found) > self.most_points:
                text = "exceeded maximum resolution of 11,000 points per timeseries"
                return 422, {"status": "error", "errorType": "execution", "error": text}
            if found:
                result.append({"metric": labels, "values": [[ms / 1000, v] for ms, v in found]})
        if total > self.most_samples:
            text = "query processing would load too many samples into memory in query execution"
            return 422, {"status": "error", "errorType": "execution", "error": text}
        return 200, _success("matrix", result)


def _success(kind: str, result: list[Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": kind, "result": result}}


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: else each answer waits 40 ms for an acknowledgement

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        params = dict(urllib.parse.parse_qsl(parts.query))
        self.server.queries.append(params.get("query", ""))
        self.server.headers_seen.append(dict(self.headers.items()))
        if self.server.delays and (delay := self.server.delays.pop(0)):
            threading.Event().wait(delay)
        if self.server.down.is_set() or self.server.dropped in params.get("query", ""):
            self.close_connection = True
            return
        if self.server.failing():
            self.server.failed += 1
            status, body = 503, b"busy"
        elif self.server.faults:
            status, text = self.server.faults.pop(0)
            body = text.encode(errors="surrogateescape")
        elif parts.path == "/api/v1/label/__name__/values":
            names = sorted({labels["__name__"] for labels, _ in self.server.series})
            status, body = 200, json.dumps({"status": "success", "data": names}).encode()
        elif parts.path != "/api/v1/query":
            status, body = 500, b"unplanned path"
        else:
            at_ms = round(float(params.get("time", "1790000900")) * 1000)
            status, document = self.server.answer(params["query"], at_ms)
            body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def prometheus() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)
