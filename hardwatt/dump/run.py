"""One run's dump: every selector, from Prometheus into the bundle."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hardwatt.bundle.writer import Writer
from hardwatt.core.wait import wait
from hardwatt.dump.chunks import LONGEST_MS, Chunks, fetch
from hardwatt.dump.client import Client
from hardwatt.dump.errors import IncompleteError
from hardwatt.dump.selectors import DEFAULT, REQUIRED, selector, with_dies

BEFORE_MS = 30_000
"""Dumped before a window: cAdvisor leaves up to 15 s between readings of an idle pod, and a pod that was there
before must not look as if it had been born in the window."""
AFTER_MS = 5_000
"""Dumped after a window, so that its last second lies between two samples."""
SETTLED = "hardwatt_node_cpu_seconds_total"
SETTLE_SECONDS = 60.0
"""Prometheus holds a scrape so long after its moment, at the latest."""


@dataclass(frozen=True)
class Margins:
    """Margins of a dump around a window, and the longest wait until Prometheus holds it."""

    before_ms: int = BEFORE_MS
    after_ms: int = AFTER_MS
    settle_timeout: float = SETTLE_SECONDS

    @classmethod
    def at(cls, scrape_seconds: float) -> "Margins":
        """Return the margins for a scrape interval; it skips readings of cAdvisor, and a last one may be as late."""
        more = max(0.0, scrape_seconds - 1)
        after = AFTER_MS + round(1100 * more)
        return cls(BEFORE_MS + round(2500 * more), after, SETTLE_SECONDS + 2 * more + after / 1000)


@dataclass(frozen=True)
class Dumped:
    """The result of a dump: metric -> (series, samples), and how many answers it took."""

    metrics: Mapping[str, tuple[int, int]]
    requests: int

    @property
    def samples(self) -> int:
        """All samples."""
        return sum(count for _, count in self.metrics.values())


def dump_run(
    prometheus_url: str,
    run_id: str,
    t0_ms: int,
    t1_ms: int,
    writer: Writer,
    selectors: Mapping[str, str] = DEFAULT,
    *,
    required: tuple[str, ...] = REQUIRED,
    before_ms: int = BEFORE_MS,
    after_ms: int = AFTER_MS,
    longest_ms: int = LONGEST_MS,
    timeout: float = 60.0,
    settle_timeout: float | None = 60.0,
    client: Client | None = None,
) -> Dumped:
    """Dump a run's window with its margins: raw answers and samples of each metric, complete or not at all.

    ``t0_ms`` and ``t1_ms`` are in the node's clock, which is Prometheus' too. Waits until Prometheus holds
    ``after_ms`` more than the window (``settle_timeout`` seconds at most; None: the window is long past). Doing it
    again replaces what was there.

    Raise DumpError's leaves; IncompleteError where a ``required`` metric has no samples in the window.
    """
    own = client or Client(prometheus_url, timeout=timeout)
    with own:
        if SETTLED in selectors and settle_timeout is not None:
            _settled(own, t1_ms + after_ms, settle_timeout)
        counts: dict[str, tuple[int, int]] = {}
        requests = 0
        start, end = t0_ms - before_ms, t1_ms + after_ms
        for metric, matchers in with_dies(selectors, lambda text: own.names(text, start, end)).items():
            chunks = fetch(own, selector(metric, matchers), start, end, longest_ms=longest_ms)
            if metric in required and not _inside(chunks, t0_ms, t1_ms):
                raise IncompleteError(
                    f"run {run_id}: Prometheus has no samples of {metric} in the window",
                    hint="invoke lab.status: is the meter's job up?",
                )
            writer.add_raw(run_id, metric, chunks.bodies)
            counts[metric] = (len(chunks.samples), writer.add_samples(run_id, metric, chunks.samples))
            requests += len(chunks.bodies)
    return Dumped(counts, requests)


def _inside(chunks: Chunks, t0_ms: int, t1_ms: int) -> bool:
    return any(bool(np.any((series.ts >= t0_ms) & (series.ts <= t1_ms))) for series in chunks.samples)


def _settled(client: Client, until_ms: int, timeout: float) -> None:
    """Wait until the newest scrape of the meter is not older than ``until_ms``."""

    def newest() -> int:
        result = client.query(f"max(timestamp({SETTLED}))")
        return round(float(result[0]["value"][1]) * 1000) if result else 0

    wait(
        newest,
        lambda ms: ms >= until_ms,
        what="Prometheus to hold the end of the window",
        timeout=timeout,
        delay=0.5,
        describe=lambda ms: f"{(until_ms - ms) / 1000:.1f} s to go" if ms else "the meter is not scraped",
        hint="invoke lab.status: is the meter's job up?",
    )
