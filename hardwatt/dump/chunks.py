"""Raw samples of one selector over a stretch of time, in pieces that the server can answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hardwatt.bundle.model import RawBody, SeriesSamples
from hardwatt.dump.client import Client
from hardwatt.dump.errors import IncompleteError, TooMuchError

LONGEST_MS = 3_600_000
SHORTEST_MS = 5_000
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Chunks:
    """All samples of a selector, and the answers that they came from."""

    samples: list[SeriesSamples]
    bodies: list[RawBody]


def fetch(client: Client, selector: str, start_ms: int, end_ms: int, *, longest_ms: int = LONGEST_MS) -> Chunks:
    """Return every raw sample in [start_ms, end_ms], each once, at its exact millisecond.

    Pieces overlap by one millisecond: a range selector of Prometheus 3 leaves its left end out, one of
    Prometheus 2 does not, and a sample on the border must be there once under both. A piece that is too much
    for the server is halved, down to five seconds.

    Raise DumpError's leaves; IncompleteError where one moment of a series has two values.
    """
    bodies: list[RawBody] = []
    found: dict[Key, list[SeriesSamples]] = {}
    for result, body in _answers(client, selector, start_ms, end_ms, longest_ms):
        bodies.append(body)
        for series in result:
            found.setdefault(tuple(sorted(series.labels.items())), []).append(series)
    samples = [joined(key, parts, start_ms, end_ms) for key, parts in sorted(found.items())]
    return Chunks([one for one in samples if one.ts.size], bodies)


def _answers(
    client: Client, selector: str, start_ms: int, end_ms: int, longest_ms: int
) -> Iterator[tuple[list[SeriesSamples], RawBody]]:
    begin, length = start_ms, longest_ms
    while begin < end_ms:
        end = min(end_ms, begin + length)
        try:
            answer = client.samples(f"{selector}[{end - begin + 1}ms]", end)
        except TooMuchError:
            length = min(length, end - begin) // 2
            if length < SHORTEST_MS:
                raise
            continue
        yield answer
        begin = end


def joined(key: Key, parts: Sequence[SeriesSamples], start_ms: int, end_ms: int) -> SeriesSamples:
    """Return one series of its parts: in order of time, inside [start_ms, end_ms], each moment once.

    Raise IncompleteError where one moment has two values.
    """
    ts = np.concatenate([part.ts for part in parts])
    values = np.concatenate([part.values for part in parts])
    inside = (ts >= start_ms) & (ts <= end_ms)
    order = np.argsort(ts[inside], kind="stable")
    ts, values = ts[inside][order], values[inside][order]
    again = np.diff(ts, prepend=ts[:1] - 1) == 0
    twice = again[1:] & (values[1:] != values[:-1]) & ~(np.isnan(values[1:]) & np.isnan(values[:-1]))
    if twice.any():
        raise IncompleteError(f"the server gives two values of {dict(key)} at {int(ts[1:][twice][0])} ms")
    return SeriesSamples(dict(key), ts[~again], values[~again])
