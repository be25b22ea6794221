"""All raw samples of one selector in memory: a run's window, in as many requests as the server needs."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardwatt.bundle.model import RawBody, SeriesSamples
from hardwatt.dump.client import Client
from hardwatt.dump.errors import IncompleteError, TooMuchError
from hardwatt.dump.ordering import each_moment_once
from hardwatt.dump.stretches import Cursor, ask

LONGEST_MS = 3_600_000
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Chunks:
    """All samples of a selector, and the answers that they came from."""

    samples: list[SeriesSamples]
    bodies: list[RawBody]


def fetch(client: Client, selector: str, start_ms: int, end_ms: int, *, longest_ms: int = LONGEST_MS) -> Chunks:
    """Return every raw sample in [start_ms, end_ms], each once, at its exact millisecond.

    A stretch that is too much for the server is halved, down to five seconds.

    Raise DumpError's leaves; IncompleteError where one moment of a series has two values.
    """
    bodies: list[RawBody] = []
    parts: dict[Key, list[SeriesSamples]] = {}
    cursor = Cursor(selector, selector, deque([(start_ms, end_ms)]), length=longest_ms)
    while stretch := cursor.take():
        try:
            samples, body = ask(client, selector, stretch)
        except TooMuchError:
            cursor.refused(stretch)
            if cursor.refusals:
                raise
            continue
        cursor.answered()
        bodies.append(body)
        for series in samples.series():
            parts.setdefault(tuple(sorted(series.labels.items())), []).append(series)
    return Chunks([joined(key, own) for key, own in sorted(parts.items())], bodies)


def joined(key: Key, parts: Sequence[SeriesSamples]) -> SeriesSamples:
    """Return one series of its parts: in order of time, each moment once.

    Raise IncompleteError where one moment has two values.
    """
    ts = np.concatenate([part.ts for part in parts])
    values = np.concatenate([part.values for part in parts])
    return each_moment_once(SeriesSamples(dict(key), ts, values), IncompleteError)
