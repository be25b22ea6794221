"""The rows of a bundle, as frozen dataclasses.

Times are milliseconds since 1970 in the **node's** clock unless a field says otherwise.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from hardwatt.core.errors import VerifyError

RunStatus = Literal["done", "failed"]
DeliveryStatus = Literal["ready", "late", "coalesced", "failed"]
EdgeName = Literal["start", "end"]
CheckStatus = Literal["ok", "warning", "failed"]
Source = Literal["modelled", "rapl"]

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,199}")


def check_run_id(run_id: str) -> str:
    """Return ``run_id`` where it is safe as a folder name; raise VerifyError otherwise."""
    if not _RUN_ID.fullmatch(run_id):
        raise VerifyError(f"run id {run_id!r} is not letters, digits, dot, dash and underscore (64 at most)")
    return run_id


def check_metric(metric: str) -> str:
    """Return ``metric`` where it is a Prometheus metric name; raise VerifyError otherwise."""
    if not _METRIC.fullmatch(metric):
        raise VerifyError(f"{metric!r} is not a metric name")
    return metric


@dataclass(frozen=True)
class Run:
    """One window: one arm, once.

    ``block`` is the pair, ``position`` the place in it (0 is first), ``repeat`` counts attempts at the same
    place (0 is the first). ``commits`` were made in the window, ``ready`` of them became Ready.
    """

    run_id: str
    block: int
    position: int
    arm: str
    repeat: int
    status: RunStatus
    reason: str
    t0_ms: int
    t1_ms: int
    flags: tuple[str, ...] = ()
    commits: int = 0
    ready: int = 0

    def __post_init__(self) -> None:
        check_run_id(self.run_id)
        if self.status not in ("done", "failed"):
            raise VerifyError(f"run {self.run_id}: status {self.status!r} is neither done nor failed")
        if self.status == "done" and self.t1_ms <= self.t0_ms:
            raise VerifyError(f"run {self.run_id}: its window ends ({self.t1_ms}) before it starts ({self.t0_ms})")
        if any(";" in flag for flag in self.flags):
            raise VerifyError(f"run {self.run_id}: a flag holds a semicolon")

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return (self.t1_ms - self.t0_ms) / 1000


@dataclass(frozen=True)
class Delivery:
    """One commit and what became of it. ``ready_ms`` is None where it never became Ready itself."""

    run_id: str
    index: int
    revision: str
    committed_ms: int
    ready_ms: int | None
    status: DeliveryStatus

    def __post_init__(self) -> None:
        check_run_id(self.run_id)
        if self.status not in ("ready", "late", "coalesced", "failed"):
            raise VerifyError(f"run {self.run_id}: delivery {self.index} has the unknown status {self.status!r}")
        if self.status == "ready" and self.ready_ms is None:
            raise VerifyError(f"run {self.run_id}: delivery {self.index} is ready without a time")


@dataclass(frozen=True)
class Edge:
    """Counters read directly at one edge of a window, by one GET of the exporter.

    ``requested_ms`` and ``replied_ms`` are the controller's clock around the request, ``node_ms`` is the best
    estimate of the node's clock when the counters were read. ``values`` maps the series as the exporter
    writes it (``name{label="value"}``) to its value; where it holds
    ``hardwatt_meter_read_timestamp_seconds``, instruments use that as the exact moment.
    """

    run_id: str
    edge: EdgeName
    requested_ms: int
    replied_ms: int
    node_ms: int
    values: Mapping[str, float]

    def __post_init__(self) -> None:
        check_run_id(self.run_id)
        if self.edge not in ("start", "end"):
            raise VerifyError(f"run {self.run_id}: {self.edge!r} is neither start nor end")
        if self.replied_ms < self.requested_ms:
            raise VerifyError(f"run {self.run_id}: the {self.edge} edge was answered before it was asked")
        if not all(math.isfinite(value) for value in self.values.values()):
            raise VerifyError(f"run {self.run_id}: the {self.edge} edge holds a value that is not a number")


@dataclass(frozen=True)
class Check:
    """One check of the host or of the rig, with its result in words."""

    name: str
    status: CheckStatus
    detail: str = ""


@dataclass(frozen=True)
class SeriesSamples:
    """Raw samples of one series: ``ts`` in milliseconds and ``values``, both of shape (n,)."""

    labels: Mapping[str, str]
    ts: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Raw samples of many series in one piece: each has ``counts[i]`` of ``ts`` (ms) and ``values``, in their order."""

    labels: Sequence[Mapping[str, str]]
    counts: npt.NDArray[np.int64]
    ts: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]

    @classmethod
    def of(cls, series: Sequence[SeriesSamples]) -> "Block":
        """Put series together. Raise VerifyError where one has not as many moments as values."""
        if uneven := [samples for samples in series if samples.ts.shape != samples.values.shape]:
            raise VerifyError(f"samples of {dict(uneven[0].labels)} are not in increasing order of time")
        counts = np.array([samples.ts.size for samples in series], dtype=np.int64)
        ts = np.concatenate([samples.ts for samples in series]) if series else np.zeros(0)
        values = np.concatenate([samples.values for samples in series]) if series else np.zeros(0)
        return cls([samples.labels for samples in series], counts, ts.astype(np.int64), values.astype(np.float64))

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """The place of each sample's series."""
        return np.repeat(np.arange(len(self.labels)), self.counts)

    def within(self, begin: int, until: int) -> "Block":
        """Return the samples of [begin, end], without series that have none there."""
        inside = (self.ts >= begin) & (self.ts <= until)
        if inside.all() and self.counts.all():
            return self
        counts = np.bincount(self.owner[inside], minlength=len(self.labels)).astype(np.int64)
        labels = [label_set for label_set, count in zip(self.labels, counts, strict=True) if count]
        return Block(labels, counts[counts > 0], self.ts[inside], self.values[inside])

    def series(self) -> list[SeriesSamples]:
        """Take the series apart again."""
        ends = np.cumsum(self.counts)
        places = zip(self.labels, (ends - self.counts).tolist(), ends.tolist(), strict=True)
        return [
            SeriesSamples(label_set, self.ts[begin:stop], self.values[begin:stop]) for label_set, begin, stop in places
        ]


@dataclass(frozen=True)
class RawBody:
    """One answer of the Prometheus API, as it came."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Provenance:
    """The origin of the numbers. ``source`` is never the fake meter: that is refused.

    ``power_model`` is the content of the model that made modelled joules (empty for rapl), ``versions`` maps
    component to version, ``host`` holds facts of the node.
    """

    seed: int
    source: Source
    tool_version: str
    git_sha: str
    dirty: bool
    versions: Mapping[str, str] = field(default_factory=dict)
    host: Mapping[str, object] = field(default_factory=dict)
    power_model: Mapping[str, object] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    protocol_sha256: str | None = None
    """Hash of the protocol (``hardwatt.bundle.protocol``); None if the plan holds none."""
    session: int | None = None
    """Number of the session."""
