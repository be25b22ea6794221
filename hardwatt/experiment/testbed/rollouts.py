"""One watch on the application's Deployment: which revision was Ready, and when it was first seen so."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import urllib3
from kubernetes import client

from hardwatt.cluster.objects import api_errors, seen_by_controller
from hardwatt.core.errors import LabError

REVISION = "hardwatt.dev/revision"
COPY = "hardwatt.dev/copy"
"""Label of everything that belongs to one of several copies of the application."""
WATCH_SECONDS = 600
CONNECT_SECONDS = 5


def revision_of(deployment: Mapping[str, Any]) -> str:
    """Return the revision that a Deployment carries, or nothing."""
    return str((deployment["metadata"].get("annotations") or {}).get(REVISION, ""))


def is_ready(deployment: Mapping[str, Any]) -> bool:
    """Return whether the revision that a Deployment carries is rolled out.

    As ``kubectl rollout status`` has it: the controller has seen this generation, all replicas are
    of it and available, and none of an older one is left.
    """
    status, wanted = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    counts = [status.get(key, 0) for key in ("updatedReplicas", "availableReplicas", "replicas")]
    return seen_by_controller(deployment) and all(count == wanted for count in counts)


class RolloutLog:
    """Rollouts as they were seen, in order; filled by the watching thread and read by the engine's.

    With several ``copies`` of the application, a revision is Ready when all of them were seen so.
    """

    def __init__(self, copies: int = 1) -> None:
        self._lock = threading.Lock()
        self._copies = copies
        self._ready: dict[str, dict[str, int]] = {}
        self._states: list[tuple[int, str, bool]] = []
        self._seen: list[str] = []
        self._error: Exception | None = None

    def add(self, deployment: Mapping[str, Any], now_ms: int) -> None:
        """Note one state of the Deployment."""
        revision = revision_of(deployment)
        if not revision:
            return
        with self._lock:
            if not self._seen or self._seen[-1] != revision:
                self._seen.append(revision)
            ready = is_ready(deployment)
            self._states.append((now_ms, revision, ready))
            if ready:
                self._ready.setdefault(revision, {}).setdefault(deployment["metadata"]["name"], now_ms)

    def fail(self, error: Exception) -> None:
        """Note that the watch is over; whoever asks next gets the error."""
        with self._lock:
            self._error = error

    def ready_ms(self, revision: str) -> int | None:
        """Return when a revision was first seen Ready, or None. Raises what ended the watch."""
        with self._lock:
            if self._error is not None:
                raise LabError(f"the watch on the application broke off: {self._error}") from self._error
            moments = self._ready.get(revision, {})
            return max(moments.values()) if len(moments) >= self._copies else None

    def repaired_ms(self, mark: str, base: str) -> int | None:
        """Return when ``base`` was first Ready again after a state with the revision ``mark``, or None."""
        with self._lock:
            if self._error is not None:
                raise LabError(f"the watch on the application broke off: {self._error}") from self._error
            states = iter(self._states)
            if not any(revision == mark for _, revision, _ in states):
                return None
            return next((ms for ms, revision, ready in states if revision == base and ready), None)

    def seen(self) -> Sequence[str]:
        with self._lock:
            return list(self._seen)


class _Watch(threading.Thread):
    """Lists once, then follows the changes; starts over where the server ends the watch."""

    def __init__(
        self, api: client.ApiClient, namespace: str, name: str, log: RolloutLog, now: Callable[[], int]
    ) -> None:
        super().__init__(name=f"watch {namespace}/{name}", daemon=True)
        self._apps: Any = client.AppsV1Api(api)  # answers are read raw
        self._where = {"namespace": namespace} | ({"field_selector": f"metadata.name={name}"} if name else {})
        self._log, self._now = log, now
        self._ending = threading.Event()
        self._response: urllib3.BaseHTTPResponse | None = None
        self.listed = threading.Event()

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                with api_errors("watching the application"):
                    self._follow(self._list())
        except Exception as error:
            if not self._ending.is_set():
                self._log.fail(error)
        finally:
            self.listed.set()

    def stop(self) -> None:
        """End the watch, also while it waits for the next change."""
        self._ending.set()
        if self._response is not None:
            with contextlib.suppress(ValueError, OSError):  # it has ended by itself meanwhile
                self._response.shutdown()
        self.join(CONNECT_SECONDS)

    def _list(self) -> str:
        answer = self._apps.list_namespaced_deployment(**self._where, _preload_content=False, _request_timeout=20)
        data = json.loads(answer.data)
        for item in data["items"]:
            self._log.add(item, self._now())
        self.listed.set()
        return str(data["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> None:
        response = self._apps.list_namespaced_deployment(
            **self._where, watch=True, resource_version=version, timeout_seconds=WATCH_SECONDS,
            _preload_content=False, _request_timeout=(CONNECT_SECONDS, WATCH_SECONDS + 10),
        )  # fmt: skip
        self._response = response
        if self._ending.is_set():  # end() came while the request was under way
            return
        try:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return  # for example 410: too old a version; list again
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._log.add(event["object"], self._now())
        finally:
            response.release_conn()


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield whole lines of a response as they come."""
    rest = b""
    for part in response.stream(amt=None, decode_content=False):
        *lines, rest = (rest + part).split(b"\n")
        yield from (line for line in lines if line)


@contextlib.contextmanager
def watch_rollouts(
    api: client.ApiClient, namespace: str, name: str, now_ms: Callable[[], int], *, copies: int = 1
) -> Iterator[RolloutLog]:
    """Watch one Deployment, or all of a namespace (no ``name``), while the context lasts; none need exist yet."""
    log = RolloutLog(copies)
    watch = _Watch(api, namespace, name, log, now_ms)
    watch.start()
    try:
        watch.listed.wait(30)
        yield log
    finally:
        watch.stop()


__all__ = ["COPY", "REVISION", "RolloutLog", "is_ready", "revision_of", "watch_rollouts"]
