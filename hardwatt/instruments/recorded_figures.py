"""Figures from the gains of a recording's counters: their making, their sums and their ratios."""

from collections.abc import Callable, Sequence

from hardwatt.bundle.recording import Counter, Recording
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.recorded_window import Gain, Limits, Span, gained
from hardwatt.instruments.windows import WindowError

CPU = "CPU-seconds"


def cpu_limits(recording: Recording) -> Limits:
    """Return what a counter of CPU time can gain: every processor, all the time."""
    return Limits(float(recording.cpus))


def figure_of(gain: Gain, unit: str, source: str) -> Figure:
    """Return a gain as a figure."""
    return Figure(gain.value, unit, source, gain.low, gain.high)


def or_reason(make: Callable[[], Figure]) -> Figure | str:
    """Return a figure, or why the window does not carry it."""
    try:
        return make()
    except WindowError as error:
        return error.reason


def summed(counters: Sequence[Counter], window: Span, source: str) -> Figure | str:
    """Return the CPU-seconds of counters together, or why the window does not carry them."""
    return or_reason(lambda: figure_of(gained(counters, window, cpu_limits(window.recording)), CPU, source))


def per_second(figure: Figure | str, whole: float, unit: str, source: str) -> Figure | str:
    """Return a figure by the second, or by another whole."""
    if isinstance(figure, str):
        return figure
    return Figure(figure.value / whole, unit, source, figure.low / whole, figure.high / whole)


def together(parts: Sequence[Figure], source: str) -> Figure:
    """Return the sum of CPU-seconds."""
    value, low, high = (float(sum(getattr(part, name) for part in parts)) for name in ("value", "low", "high"))
    return Figure(value, CPU, source, low, high)


def ratio(part: Figure, whole: Figure, source: str) -> Figure | str:
    """Return a share of a whole."""
    if whole.low <= 0:
        return "the whole may be nothing"
    return Figure(part.value / whole.value, "ratio", source, part.low / whole.high, part.high / whole.low)


def signed_ratio(part: Figure, whole: Figure) -> Figure | str:
    """Return a share of the node whose part may be below zero."""
    if whole.low <= 0:
        return "the whole may be nothing"
    ends = [part.low / whole.low, part.low / whole.high, part.high / whole.low, part.high / whole.high]
    return Figure(part.value / whole.value, "ratio", f"{part.source}, by the node's", min(ends), max(ends))
