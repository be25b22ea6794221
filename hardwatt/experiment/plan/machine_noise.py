"""Noise of a machine from repeated windows of one arm: noise by length, an A/A by equivalence, known loads."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from hardwatt.core.errors import LabError, SettingsError
from hardwatt.experiment.plan.sample_size import FEWEST

ALPHA, POWER = 0.05, 0.80


@dataclasses.dataclass(frozen=True)
class Spread:
    """Scatter of the difference of two windows of one arm, in CPU-s or J of one window."""

    sd: float
    free: float
    """Degrees of freedom (Satterthwaite): what preparing the arm again adds is known from few runs."""


@dataclasses.dataclass(frozen=True)
class SameTwice:
    """A/A of one arm: each window minus the one before, two by two, in the outcome's unit in a window."""

    arm: str
    outcome: str
    window_seconds: float
    pairs: int
    mean: float
    low: float
    high: float
    """The 90 % interval of the mean, which an equivalence test at 0.05 uses."""
    sd: float
    margin: float

    @property
    def equivalent(self) -> bool:
        """Return True if the interval lies inside the margin."""
        return self.low > -self.margin and self.high < self.margin

    @property
    def more_windows(self) -> int | None:
        """Number of further windows with which an interval around zero is inside the margin four times in five.

        Zero where it is inside already; None where the mean itself is outside, which more windows do not mend.
        """
        if self.equivalent:
            return 0
        if abs(self.mean) >= self.margin:
            return None
        needed = pairs_for_equivalence(self.sd, self.margin - abs(self.mean))
        return 2 * max(1, needed - self.pairs)


@dataclasses.dataclass(frozen=True)
class Rung:
    """A known load, and what the node's counters showed of it."""

    outcome: str
    cpu_seconds: float
    """The load."""
    known: float
    """The load in the outcome's unit: CPU-s, or J by the largest load's joules per CPU-s."""
    measured: float
    low: float
    high: float
    """Interval that holds for all loads of the ladder together, at 95 %."""
    slots: int

    @property
    def recovered(self) -> bool:
        """Return True if the interval holds the load."""
        slack = 1e-11 * abs(self.known)  # a bound that differs by rounding alone holds the load
        return self.low - slack <= self.known <= self.high + slack

    @property
    def seen(self) -> bool:
        """Return True if the load is recovered and told apart from none."""
        return self.recovered and self.low > 0


def spread(runs: Sequence[Sequence[float]]) -> Spread | None:
    """Return the scatter between two windows of an arm that was prepared anew for each.

    ``runs`` holds, for each run, its windows of one length in order; all have as many. The variance of a window has
    a part within runs and a part between them: MS_between / k + (1 - 1 / k) MS_within for k windows in a run. A
    difference of two windows has twice that. None with one run.
    """
    k, count = len(runs[0]) if runs else 0, len(runs)
    if count < 2 or not k:
        return None
    means = [statistics.fmean(run) for run in runs]
    between = statistics.variance(means)
    within = sum(statistics.variance(run) for run in runs) / count * (1 - 1 / k) if k > 1 else 0.0
    total = between + within
    if total == 0:
        return Spread(0.0, float(count - 1))
    parts = between**2 / (count - 1) + (within**2 / (count * (k - 1)) if k > 1 else 0.0)
    return Spread(math.sqrt(2 * total), total**2 / parts)


def same_twice(
    arm: str, outcome: str, seconds: float, runs: Sequence[Sequence[float]], margin: float
) -> SameTwice:  # fmt: skip
    """Compare each window with the one right after it, in the same arm; see ``SameTwice``.

    Raises ``LabError`` below six such pairs.
    """
    from hardwatt.analysis import equivalence  # the statistics take a second to import

    differences = [run[place + 1] - run[place] for run in runs for place in range(0, len(run) - 1, 2)]
    if len(differences) < FEWEST:
        raise LabError(f"the A/A of {arm} has {len(differences)} pairs of windows, {FEWEST} are needed")
    answer = equivalence.tost(differences, margin)
    return SameTwice(
        arm, outcome, seconds, len(differences), answer.mean, answer.low, answer.high,
        statistics.stdev(differences), margin,
    )  # fmt: skip


def pairs_for_equivalence(sd: float, margin: float) -> int:
    """Return the least number of pairs with which two one-sided t tests succeed four times in five, at no difference.

    (t_{0.95, n-1} + t_{0.9, n-1}) * sd / sqrt(n) <= margin.
    """
    from scipy import stats

    def fits(pairs: int) -> bool:
        reach = stats.t.ppf(1 - ALPHA, pairs - 1) + stats.t.ppf((1 + POWER) / 2, pairs - 1)
        return bool(reach * sd / math.sqrt(pairs) <= margin)

    normal = float(stats.norm.ppf(1 - ALPHA) + stats.norm.ppf((1 + POWER) / 2))
    pairs = max(FEWEST, math.ceil((normal * sd / margin) ** 2))  # t is wider than the normal: never too many
    while not fits(pairs):
        pairs += 1
    return pairs


def loads(text: str) -> tuple[float, ...]:
    """Return the CPU-seconds of each slot of a ladder, given as numbers between blanks.

    Raises ``SettingsError`` for anything else, and where no slot is without a load.
    """
    try:
        values = tuple(float(word) for word in text.split())
    except ValueError:
        values = ()
    if not values or not all(0 <= value <= 600 for value in values) or 0.0 not in values:
        raise SettingsError(f"the level loads holds numbers from 0 to 600 between blanks, 0 among them, not {text!r}")
    return values


def ladder(outcome: str, runs: Sequence[Sequence[tuple[float, float]]]) -> tuple[Rung, ...]:
    """Return what was measured of each known load above none.

    ``runs`` holds (load in CPU-s, measured) of each slot. A load is the mean over runs of its slots' mean minus that
    of the slots without one, so that a run's own level cancels; the scatter is that of all slots around the means of
    run and load, and the intervals are Bonferroni's over the loads.

    Raises ``LabError`` where there are too few slots.
    """
    from scipy import stats

    loads = sorted({load for run in runs for load, _ in run} - {0.0})
    table = [{load: [value for own, value in run if own == load] for load in (0.0, *loads)} for run in runs]
    count = sum(len(run) for run in runs)
    free = count - len(loads) - len(runs)
    if not loads or free < 1 or any(not values for run in table for values in run.values()):
        raise LabError("the ladder of known loads has too few slots: each run holds every load, and none")
    effects = {load: statistics.fmean(_mean(run, load) for run in table) for load in loads}
    squares = sum(_squares(run, {0.0: 0.0, **effects}) for run in table)
    reach = float(stats.t.ppf(1 - ALPHA / 2 / len(loads), free)) * math.sqrt(squares / free)
    top = loads[-1]
    price = 1.0 if outcome == "node_cpu_seconds" else effects[top] / top
    rungs = []
    for load in loads:
        slots, empty = (sum(len(run[each]) for run in table) for each in (load, 0.0))
        error = reach * math.sqrt(1 / slots + 1 / empty)
        value = effects[load]
        rungs.append(Rung(outcome, load, load * price, value, value - error, value + error, slots))
    return tuple(rungs)


def _mean(run: dict[float, list[float]], load: float) -> float:
    return statistics.fmean(run[load]) - statistics.fmean(run[0.0])


def _squares(run: dict[float, list[float]], effects: dict[float, float]) -> float:
    """Return the squared distances of a run's slots from its level and their load's effect."""
    rest = [value - effects[load] for load, values in run.items() for value in values]
    level = statistics.fmean(rest)
    return sum((value - level) ** 2 for value in rest)
