"""The watch on the application, against a small stand-in for the API server."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kubernetes import client

from hardwatt.core.errors import LabError
from hardwatt.core.wait import wait
from hardwatt.experiment.testbed.rollouts import watch_rollouts
from tests.experiment.test_parts import deployment


class Server(ThreadingHTTPServer):
    """Answers a list with ``listed``, and each watch with one of ``watches``; the last one stays open."""

    daemon_threads = True

    def __init__(self, listed: list[dict[str, Any]], watches: list[list[dict[str, Any]]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.listed, self.watches = listed, watches
        self.lists = 0
        self.closing = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes: else an answer may wait for an acknowledgement
    server: Server

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        assert query["fieldSelector"] == ["metadata.name=app"]
        if "watch" in query:
            self._watch()
            return
        self.server.lists += 1
        body = json.dumps({"metadata": {"resourceVersion": "7"}, "items": self.server.listed}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self) -> None:
        if not self.server.watches:
            self.send_error(403)
            return
        events = self.server.watches.pop(0)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        text = "".join(json.dumps(event) + "\n" for event in events).encode()
        for part in (text[:40], text[40:]):  # a line may come in pieces
            if part:
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                self.wfile.flush()
        if not self.server.watches:
            self.server.closing.wait(20)
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    found = Server(*request.param)
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    found.closing.set()
    found.shutdown()
    found.server_close()


def api(server: Server) -> client.ApiClient:
    configuration = client.Configuration()
    configuration.host = f"http://127.0.0.1:{server.server_port}"
    return client.ApiClient(configuration)


def changed(found: dict[str, Any]) -> dict[str, Any]:
    return {"type": "MODIFIED", "object": found}


GONE = {"type": "ERROR", "object": {"code": 410}}


@pytest.mark.parametrize(
    "server",
    [([deployment("r1")], [[changed(deployment("r2", updatedReplicas=0)), GONE], [changed(deployment("r2"))]])],
    indirect=True,
)
def test_it_lists_follows_lists_again_where_it_must_and_ends_at_once(server: Server) -> None:
    with api(server) as connection, watch_rollouts(connection, "workload", "app", lambda: 42) as rollouts:
        assert rollouts.ready_ms("r1") == 42
        wait(lambda: rollouts.ready_ms("r2"), lambda ms: ms == 42, what="r2", timeout=10, delay=0.02)
        assert rollouts.seen()[:2] == ["r1", "r2"]
        started = time.monotonic()
    assert time.monotonic() - started < 3
    assert server.lists == 2


@pytest.mark.parametrize("server", [([], [[]])], indirect=True)
def test_it_ends_at_once_also_when_it_has_only_just_begun(server: Server) -> None:
    with api(server) as connection, watch_rollouts(connection, "workload", "app", lambda: 42) as rollouts:
        assert rollouts.ready_ms("r1") is None
        started = time.monotonic()
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("server", [([], [])], indirect=True)
def test_an_api_server_that_refuses_is_an_error_for_whoever_asks(server: Server) -> None:
    with api(server) as connection, watch_rollouts(connection, "workload", "app", lambda: 42) as rollouts:

        def ask() -> str:
            try:
                return str(rollouts.ready_ms("r1"))
            except LabError as error:
                return error.message

        found = wait(ask, lambda text: text != "None", what="the refusal", timeout=10, delay=0.02)
    assert "the API server answered 403" in found
