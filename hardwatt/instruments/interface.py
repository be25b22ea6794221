"""The interface of an instrument: the series that it needs, what it covers, how wide its error is, and its figures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.instruments.figure import Figure

Found = Iterator[tuple[str, Figure | str]]
"""Each outcome's name with its figure, or with the reason why there is none."""


@dataclass(frozen=True)
class Instrument:
    """One way to see a window. ``figures`` integrates it: bundle, run -> outcomes, each with its own bounds."""

    name: str
    series: tuple[str, ...]
    covers: str
    error: str
    figures: Callable[[Bundle, Run], Found]
