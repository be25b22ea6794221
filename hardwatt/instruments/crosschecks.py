"""Do the instruments agree? Every cross-check of a window: its figure, what it is asked to be, and a sentence.

The figures themselves are made where their counters are read (``node``, ``cgroup``, ``kepler``); what they are asked
to be stands here, in one table. A cross-check that does not hold refuses nothing: it is shown beside the answer.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hardwatt.bundle.reader import Bundle
from hardwatt.instruments.figure import Figure, Measured
from hardwatt.instruments.node import scrape_gap_ms, scrape_seconds

Figures = Mapping[str, Figure]
Limits = tuple[float | None, float | None]
BESIDE = "check.by_scrapes."
"""Prefix of the ratio of an outcome by scrapes to the same outcome by the node's record."""
BIAS = "check.kepler_bias."
BY_SAMPLES = "check.node_cpu_seconds_by_samples"
OF_FORMULA = "check.joules_of_formula"
FORMULA_LIMITS = (0.99, 1.01)
"""Joules of the modelled zone, of those that the formula gives: outside of these they are withheld."""
MOST_UNSEEN = 0.05
"""Of the pods' CPU-seconds: what Kepler may not have seen."""
MOST_APART_SECONDS = 0.5
"""So many seconds of the window's mean pace its scrapes may stand from its edges, however long the window is."""
TICKS_APART = 1.5
"""So many ticks of the recorder both ends together may be off."""
OF_MARGIN = 0.5
"""Of the plan's margin: a cross-check that allows more supports no answer of that size."""


@dataclass(frozen=True)
class Crosscheck:
    """One cross-check of one run. ``least`` and ``most`` are in the figure's unit; None: no limit on that side."""

    run_id: str
    arm: str
    name: str
    about: str
    figure: Figure
    least: float | None
    most: float | None

    @property
    def holds(self) -> bool:
        """Return True if the figure lies within its limits."""
        return not self.too_low and not self.too_high

    @property
    def too_low(self) -> bool:
        """Return True if the figure is below its lower limit."""
        return self.least is not None and _below(self.figure.value, self.least)

    @property
    def too_high(self) -> bool:
        """Return True if the figure is above its upper limit."""
        return self.most is not None and _below(self.most, self.figure.value)

    @property
    def sentence(self) -> str:
        """The cross-check in words: what, how much, what was asked for, and whether it holds."""
        figure = self.figure
        unit = "" if figure.unit == "ratio" else f" {figure.unit}"
        bounds = "" if figure.low == figure.high else f" ({figure.low:.4g} to {figure.high:.4g})"
        return f"{self.about}: {figure.value:.4g}{unit}{bounds}; asked for {self.asked}: {self._verdict}"

    @property
    def asked(self) -> str:
        """The limits in words."""
        if self.least is None:
            return f"at most {self.most:.4g}"
        return f"at least {self.least:.4g}" if self.most is None else f"{self.least:.4g} to {self.most:.4g}"

    @property
    def _verdict(self) -> str:
        if self.holds:
            return "holds"
        sure = self.figure.high < (self.least or 0.0) if self.too_low else self.figure.low > (self.most or 0.0)
        return "does not hold" if sure else "does not hold, though its bounds allow it"


def _below(value: float, limit: float) -> bool:
    """Return True if *value* is below *limit* by more than rounding."""
    return value < limit and not math.isclose(value, limit, rel_tol=1e-11)


@dataclass(frozen=True)
class _Kind:
    about: str
    limits: Callable[[Bundle, Figures], Limits]


def _between(least: float | None, most: float | None) -> Callable[[Bundle, Figures], Limits]:
    return lambda _bundle, _figures: (least, most)


def _intervals(count: float) -> Callable[[Bundle, Figures], Limits]:
    """So many scrape intervals of the meter, in seconds."""
    return lambda bundle, _figures: (None, count * scrape_gap_ms(bundle) / 2500)


def _unseen(_bundle: Bundle, figures: Figures) -> Limits:
    whole = figures.get("cpu_seconds.kubepods") or figures["cpu_seconds.pods"]
    return None, MOST_UNSEEN * whole.value


def _apart_seconds(bundle: Bundle, figures: Figures) -> float:
    """Return by how many seconds of the mean pace the ends may be in doubt; less where the plan's margin is small."""
    pace = figures["node_cpu_seconds"].value / bundle.plan.window_seconds if "node_cpu_seconds" in figures else 0.0
    primary = bundle.plan.primary
    margin = (primary.model_extra or {}).get("margin")
    if primary.outcome != "node_cpu_seconds" or not isinstance(margin, (int, float)) or margin <= 0 or pace <= 0:
        return MOST_APART_SECONDS
    return min(MOST_APART_SECONDS, OF_MARGIN * margin / pace)


def _near_edges(bundle: Bundle, figures: Figures) -> Limits:
    node = figures["node_cpu_seconds"].value
    apart = node / bundle.plan.window_seconds * _apart_seconds(bundle, figures)
    return node - apart, node + apart


def _at_edges(bundle: Bundle, figures: Figures) -> Limits:
    """Seconds; a counter that is read at ticks is read half a tick from each end at most, where none is late."""
    if ticks := [entry.tick_seconds for entry in bundle.manifest.recordings.values()]:
        return None, TICKS_APART * max(ticks)
    return None, _apart_seconds(bundle, figures) * max(1.0, scrape_gap_ms(bundle) / 2500)


KINDS: Mapping[str, _Kind] = {
    "closure.attributed_of_node": _Kind("CPU time of all pods and services, of the node", _between(0.7, 1.02)),
    "closure.kubepods_of_node": _Kind("CPU time of all pods, of the node", _between(None, 1.02)),
    "closure.pods_of_kubepods": _Kind(
        "CPU time of the pods that were seen, of all pods' own counter", _between(0.95, 1.05)
    ),
    "check.cpu_lost_of_node": _Kind(
        "CPU time of pods that no pod's own counter holds, of the node", _between(-0.02, 0.02)
    ),
    "closure.kepler_pods_of_active": _Kind(
        "joules of Kepler's pods, of the node's active joules by Kepler", _between(0.9, 1.1)
    ),
    "check.kepler_unseen": _Kind("CPU time of pods that Kepler did not see", _unseen),
    "check.scrape_gap": _Kind("longest silence between two scrapes", _intervals(2.5)),
    "check.resets": _Kind("counters that went back to zero in the window", _between(None, 0)),
    "check.edge_error": _Kind("readings at the edges, off the window's ends by", _at_edges),
    OF_FORMULA: _Kind("joules of the zone, of those that the formula gives", _between(*FORMULA_LIMITS)),
    "check.meter_cost": _Kind("what the meter itself costs", _between(None, 0.005)),
    "check.steal": _Kind("processor time that the hypervisor took away, of what there is", _between(None, 0.01)),
    "check.record_gap": _Kind("longest silence of the node's recorder", _between(None, 2.5)),
    "check.unseen_pods": _Kind("pods that came and went between two ticks of the recorder", _between(None, 0)),
    BY_SAMPLES: _Kind("the node by scrapes alone, without the readings at the edges", _near_edges),
}
_FEWER_PODS = ("closure.pods_of_kubepods", "closure.attributed_of_node", "closure.kepler_pods_of_active")
_MORE_LOST = ("check.cpu_lost_of_node",)
_OF_BIAS = _between(0.8, 1.25)
_BESIDE_RECORD = _between(0.95, 1.05)


def judged(bundle: Bundle, measured: Measured) -> list[Crosscheck]:
    """Return every cross-check that was measured, by run in their order, then by name."""
    runs: dict[str, tuple[str, dict[str, Figure]]] = {}
    for outcome in measured.outcomes:
        runs.setdefault(outcome.run_id, (outcome.arm, {}))[1][outcome.name] = outcome.figure
    checks = []
    for run_id, (arm, figures) in runs.items():
        for name in sorted(figures):
            if (kind := _kind(name)) is not None:
                least, most = _widened(bundle, name, figures[name], kind.limits(bundle, figures), run_id)
                checks.append(Crosscheck(run_id, arm, name, kind.about, figures[name], least, most))
    return checks


def _widened(bundle: Bundle, name: str, figure: Figure, limits: Limits, run_id: str) -> Limits:
    """Return limits that allow for scrapes which are more than a second apart: they leave the bounds of the figure.

    Pods that came and went between two scrapes are in no pod's counter: what only such pods explain is allowed too.
    """
    least, most = limits
    if scrape_seconds(bundle) <= 1 or not _of_scrapes(bundle, name, run_id):
        return limits
    if name in _FEWER_PODS or name.startswith((f"{BESIDE}cpu_seconds.", BIAS)):
        least = None if most is not None else least
    if name in _MORE_LOST:
        most = None if least is not None else most
    below, above = figure.value - figure.low, figure.high - figure.value
    return (None if least is None else least - below), (None if most is None else most + above)


def _of_scrapes(bundle: Bundle, name: str, run_id: str) -> bool:
    """Return True if scrapes gave the figure: a run with a recording has its other checks from that."""
    return (
        run_id not in bundle.manifest.recordings
        or name == BY_SAMPLES
        or name.startswith((BESIDE, BIAS, "check.kepler"))
    )


def _kind(name: str) -> _Kind | None:
    if name.startswith(BIAS):
        return _Kind(f"Kepler's share of {name.removeprefix(BIAS)}, over its share by cgroups", _OF_BIAS)
    if name.startswith(BESIDE):
        return _Kind(f"{name.removeprefix(BESIDE)} by scrapes, of the node's record", _BESIDE_RECORD)
    return KINDS.get(name)
