"""Stretches of time that a metric is dumped in: how long each is, and its raw samples.

A run's dump and a long dump both ask for them so. Stretches do not overlap: [begin, until], both in milliseconds and
both inside; the next one begins a millisecond later. A stretch that is too much for the server is halved.
"""

from collections import deque
from dataclasses import dataclass

from hardwatt.bundle.model import Block, RawBody
from hardwatt.dump.client import Client

Stretch = tuple[int, int]
FIRST_MS = 120_000
SHORTEST_MS = 5_000
LONGEST_MS = 6 * 3_600_000
MOST_GROWTH = 8


def ask(client: Client, selector: str, stretch: Stretch) -> tuple[Block, RawBody]:
    """Return the raw samples of a selector in a stretch, each at its exact millisecond, and the untouched answer.

    A range selector of Prometheus 3 leaves its left end out; one of Prometheus 2 does not, and its answer holds the
    sample before the stretch too. Raise DumpError's leaves.
    """
    begin, until = stretch
    samples, body = client.block(f"{selector}[{until - begin + 1}ms]", until)
    return samples.within(begin, until), body


@dataclass
class Cursor:
    """One metric: what is left of it, and how long the next stretch is to be."""

    metric: str
    selector: str
    left: deque[Stretch]
    length: int = FIRST_MS
    known: bool = False
    flying: int = 0
    refusals: int = 0
    """Refusals of the shortest stretch in a row."""
    unanswered: int = 0
    ceiling: int = LONGEST_MS

    def take(self) -> Stretch | None:
        """Return the next stretch; None for now where the first answer must tell the amount, or nothing is left."""
        if not self.left or (self.flying and not self.known):
            return None
        begin, until = self.left.popleft()
        cut = min(until, begin + self.length - 1)
        if cut < until:
            self.left.appendleft((cut + 1, until))
        self.flying += 1
        return begin, cut

    def give_back(self, stretch: Stretch) -> None:
        """Take a stretch again that was not answered."""
        self.flying -= 1
        self.left.appendleft(stretch)

    def refused(self, stretch: Stretch) -> None:
        """Take a stretch again that was too much, and ask for half; count refusals of the shortest."""
        self.give_back(stretch)
        length = stretch[1] - stretch[0] + 1
        self.refusals += length <= SHORTEST_MS
        half = -(-min(self.length, length) // 2)  # rounded up: two of them are the whole
        self.length = self.ceiling = max(SHORTEST_MS, half)

    def answered(self) -> None:
        """Note that a stretch was answered; the next one is as long."""
        self.flying -= 1
        self.known, self.refusals, self.unanswered = True, 0, 0

    def learn(self, stretch: Stretch, samples: int, target: int) -> None:
        """Note an answer, and set the next length so that its answer holds about ``target`` samples."""
        self.answered()
        length = stretch[1] - stretch[0] + 1
        wanted = length * target // samples if samples else LONGEST_MS
        self.length = max(SHORTEST_MS, min(wanted, length * MOST_GROWTH, self.ceiling))
        self.ceiling = min(LONGEST_MS, round(self.ceiling * 1.05))  # what was too much once is tried again, later
