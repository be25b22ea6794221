"""Long dumps: many stretches at once, each on disk before it is forgotten, so that memory does not grow with time.

A stretch is as long as its answer holds about ``target`` samples by what the last one held. Where the server says no
(422, 503, time-outs) stretches are halved and fewer are asked for at once; where it does not answer at all, it is
waited for.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field

from isal import igzip

from hardwatt.bundle.model import Block
from hardwatt.bundle.writer import Writer, packed
from hardwatt.core.errors import WaitError
from hardwatt.core.wait import wait
from hardwatt.dump.client import Client
from hardwatt.dump.errors import TooMuchError, UnreachableError
from hardwatt.dump.resume_log import ResumeLog
from hardwatt.dump.stretches import Cursor, Stretch, ask

MOST_REFUSALS = 3
"""So often in a row may the shortest stretch of a metric be too much for the server."""
MOST_UNANSWERED = 12
"""Unanswered requests of one metric in a row, with a server that answers in between; an outage ends up to three."""
TARGET = 400_000
"""Samples of one answer: about 12 MB of text, and under 100 MB while it is read and written."""


@dataclass(frozen=True)
class Options:
    """Load on the server. ``patience``: seconds that a server which does not answer is waited for."""

    parallel: int = 3
    target: int = TARGET
    patience: float = 120.0
    keep_raw: bool = True


@dataclass
class Progress:
    """The progress of a dump: ``covered`` of ``whole`` milliseconds of all metrics, and the samples of this attempt."""

    whole: int
    covered: int = 0
    samples: int = 0
    requests: int = 0
    started: float = field(default_factory=time.monotonic)
    first: int = 0

    @property
    def text(self) -> str:
        """One line: how much, how fast, how long still."""
        seconds = max(1e-3, time.monotonic() - self.started)
        here = self.covered - self.first
        left = f", about {seconds * (self.whole - self.covered) / here:.0f} s left" if here else ""
        share = self.covered / self.whole if self.whole else 1.0
        return f"{share:.0%} of the time, {self.samples:,} samples, {self.samples / seconds:,.0f} a second{left}"


def _fast(data: bytes) -> bytes:
    """Gzip in a quarter of the time: answers of a long dump are hundreds of megabytes."""
    return bytes(igzip.compress(data, 1, mtime=0))


@dataclass(frozen=True)
class _Answer:
    samples: Block
    raw: bytes


class Stream:
    """Dumps metrics of one run into a bundle in parts. ``tell`` gets the progress after each stretch."""

    def __init__(
        self,
        client: Client,
        writer: Writer,
        ledger: ResumeLog,
        run_id: str,
        options: Options,
        tell: Callable[[Progress], None],
    ) -> None:
        self._client, self._writer, self._ledger, self._run_id = client, writer, ledger, run_id
        self._options, self._tell = options, tell
        self._width = options.parallel

    def run(self, selectors: Mapping[str, str], start_ms: int, end_ms: int) -> Progress:
        """Dump every metric (name -> selector) in [start_ms, end_ms]; what the ledger holds is not asked for again.

        Raise DumpError's leaves; what is done until then stays done.
        """
        self._ledger.sweep(self._run_id)
        cursors = [
            Cursor(metric, selector, deque(self._ledger.left(metric, start_ms, end_ms)))
            for metric, selector in selectors.items()
        ]
        whole = len(cursors) * (end_ms - start_ms + 1)
        covered = whole - sum(until - begin + 1 for cursor in cursors for begin, until in cursor.left)
        progress = Progress(whole, covered, first=covered)
        flying: dict[Future[_Answer], tuple[Cursor, Stretch]] = {}
        with ThreadPoolExecutor(self._options.parallel) as pool:
            try:
                while self._launch(pool, cursors, flying):
                    for future in wait_for(flying, return_when=FIRST_COMPLETED).done:
                        self._land(future, *flying.pop(future), progress)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        return progress

    def _launch(
        self,
        pool: ThreadPoolExecutor,
        cursors: Iterable[Cursor],
        flying: dict[Future[_Answer], tuple[Cursor, Stretch]],
    ) -> bool:
        """Ask for as many stretches as may be at once; return whether any is under way."""
        for cursor in cursors:
            while len(flying) < self._width and (stretch := cursor.take()):
                flying[pool.submit(self._ask, cursor.selector, stretch)] = cursor, stretch
        return bool(flying)

    def _ask(self, selector: str, stretch: Stretch) -> _Answer:
        samples, body = ask(self._client, selector, stretch)
        return _Answer(samples, packed([body], _fast) if self._options.keep_raw else b"")

    def _land(self, future: Future[_Answer], cursor: Cursor, stretch: Stretch, progress: Progress) -> None:
        try:
            answer = future.result()
        except TooMuchError:
            cursor.refused(stretch)
            if cursor.refusals > MOST_REFUSALS:
                raise
            self._width = max(1, self._width - 1)
            self._wait_for_server()  # 503 is also what a server says that starts
            return
        except UnreachableError:
            cursor.give_back(stretch)
            cursor.unanswered += 1
            if cursor.unanswered > MOST_UNANSWERED:
                raise
            self._wait_for_server()
            return
        count, files = self._writer.add_part(self._run_id, cursor.metric, stretch[0], answer.samples, answer.raw)
        self._ledger.add(cursor.metric, stretch, len(answer.samples.labels), count, files)
        cursor.learn(stretch, count, self._options.target)
        self._width = min(self._options.parallel, self._width + 1)
        progress.covered += stretch[1] - stretch[0] + 1
        progress.samples += count
        progress.requests += 1
        self._tell(progress)

    def _wait_for_server(self) -> None:
        """Wait until the server answers again; raise UnreachableError after ``patience`` seconds."""

        def answers() -> str:
            try:
                self._client.query("1")
            except (UnreachableError, TooMuchError) as error:
                return error.message
            return ""

        try:
            wait(answers, lambda text: not text, what=self._client.url, timeout=self._options.patience, delay=0.5)
        except WaitError as error:
            raise UnreachableError(
                f"{self._client.url} did not come back in {self._options.patience:.0f} s: {error}",
                hint="the same command again goes on where it was",
            ) from None
