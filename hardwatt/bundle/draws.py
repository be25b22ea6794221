"""Draws of a plan from its seed: order of the arms, moments of commits, delays before windows.

The engine plans with them, and the analysis draws them again: a plan that its seed does not draw was changed.
"""

import random
from collections.abc import Sequence


def stream(seed: int, *parts: object) -> random.Random:
    """Return a stream of its own for each purpose, so that one more draw somewhere moves nothing else.

    A text seed is hashed with SHA-512 by ``random.Random``, which is stable across Python versions.
    """
    return random.Random("/".join(str(part) for part in (seed, *parts)))  # noqa: S311 - a plan, not a secret


def orders(kind: str, arms: Sequence[str], blocks: int, seed: int) -> list[list[str]]:
    """Return the arms of each block in the order in which they run.

    ``kind`` is ``randomised``, ``abba`` or ``williams`` (see ``Design.order``).
    """
    if kind == "abba":
        return _abba(arms, blocks, seed)
    if kind == "williams" and len(arms) > 2:
        return _williams(arms, blocks, seed)
    return _randomised(arms, blocks, seed)


def repeated_order(arms: Sequence[str], block: int, seed: int) -> list[str]:
    """Return the arms of a repeated block in their order."""
    order = list(arms)
    stream(seed, "repeat", block).shuffle(order)
    return order


def phase(block: int, position: int, most_seconds: float, seed: int) -> float:
    """Return the delay right before a window, in seconds."""
    return round(stream(seed, "phase", block, position).uniform(0, most_seconds), 3)


def offsets(block: int, counts: Sequence[int], first: float, spacing: float, jitter: float, seed: int) -> list[float]:
    """Return the moments of a block's commits, in seconds from the start of its windows.

    ``counts``: numbers of commits that blocks take in turns, each round in an order of its own.
    """
    turn, place = divmod(block - 1, len(counts))
    turns = list(counts)
    stream(seed, "commits", turn).shuffle(turns)
    draw = stream(seed, "trace", block)
    return [round(first + index * spacing + draw.uniform(0, jitter), 3) for index in range(turns[place])]


def _randomised(arms: Sequence[str], blocks: int, seed: int) -> list[list[str]]:
    """Two arms: half of the pairs (rounded at random) start with the first; more arms: each block shuffled."""
    draw = stream(seed, "order")
    if len(arms) > 2:
        return [_shuffled(arms, draw) for _ in range(blocks)]
    odd = [draw.choice(arms)] if blocks % 2 else []
    firsts = [arm for arm in arms for _ in range(blocks // 2)] + odd
    draw.shuffle(firsts)
    return [[first, *(arm for arm in arms if arm != first)] for first in firsts]


def _abba(arms: Sequence[str], blocks: int, seed: int) -> list[list[str]]:
    """Pairs in twos, ABBA or BAAB, half of the twos (rounded at random) each."""
    twos = [order for half in _randomised(arms, (blocks + 1) // 2, seed) for order in (half, half[::-1])]
    return twos[:blocks]


def _williams(arms: Sequence[str], blocks: int, seed: int) -> list[list[str]]:
    """Whole squares one after the other, each with arms and rows in an order drawn from the seed."""
    draw = stream(seed, "order")
    orders: list[list[str]] = []
    while len(orders) < blocks:
        labels = _shuffled(arms, draw)
        square = [[labels[index] for index in row] for row in williams_square(len(arms))]
        draw.shuffle(square)
        orders += square
    return orders[:blocks]


def williams_square(size: int) -> list[list[int]]:
    """Return the rows of a Williams square: each treatment follows each other one equally often.

    ``size`` rows where that is even, else twice as many (the square and its mirror image).
    Source: E. J. Williams, Australian Journal of Scientific Research A 2 (1949) 149.
    """
    first = [0]
    low, high = 1, size - 1
    while len(first) < size:
        first.append(low if len(first) % 2 else high)
        low, high = (low + 1, high) if len(first) % 2 == 0 else (low, high - 1)
    rows = [[(value + shift) % size for value in first] for shift in range(size)]
    return rows + [row[::-1] for row in rows] if size % 2 else rows


def _shuffled(arms: Sequence[str], draw: random.Random) -> list[str]:
    order = list(arms)
    draw.shuffle(order)
    return order
