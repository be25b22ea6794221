"""The smallest difference that a number of pairs can show, and the number of pairs that a difference takes."""

import functools
import math
import statistics
from collections.abc import Sequence

from hardwatt.core.errors import LabError

ALPHA, POWER, BOUND = 0.05, 0.80, 0.80
FEWEST = 6
"""Below six pairs no two-sided test can be significant at the usual level."""


def sd_upper(differences: Sequence[float], bound: float = BOUND) -> float:
    """Return the upper confidence bound (one-sided) of the standard deviation of paired differences.

    s * sqrt((n - 1) / chi2_{1 - bound, n - 1}): planning with s itself would promise too much in half of
    all cases. Raises ``LabError`` below two differences.
    """
    from scipy import stats  # takes a second, and most commands need none of it

    if len(differences) < 2:
        raise LabError("two pairs or more are needed to know how differences scatter")
    free = len(differences) - 1
    return float(statistics.stdev(differences) * math.sqrt(free / stats.chi2.ppf(1 - bound, free)))


def detectable(sd: float, pairs: int) -> float | None:
    """Return the smallest true mean difference that is seen with power 0.8 at a two-sided level of 0.05.

    (t_{0.975, n-1} + t_{0.8, n-1}) * sd / sqrt(n), in the unit of ``sd``; None below six pairs.
    """
    from scipy import stats

    if pairs < FEWEST:
        return None
    factor = stats.t.ppf(1 - ALPHA / 2, pairs - 1) + stats.t.ppf(POWER, pairs - 1)
    return float(factor * sd / math.sqrt(pairs))


def detectable_in_sessions(sd: float, sessions: int) -> float:
    """Return the smallest true mean that a two-sided t test over sessions sees with a power of 0.8 at 0.05.

    ``sd`` is the standard deviation of sessions' means; the result has its unit. Exact, by integration over the spread
    that the sessions happen to show: with two to five of them the usual sum of two quantiles promises too much.
    """
    return _seen(sessions) * sd if sessions > 1 else math.inf


@functools.cache
def _seen(sessions: int) -> float:
    import numpy as np
    from scipy import optimize, stats

    free = sessions - 1
    shown = np.sqrt(stats.chi2.ppf((np.arange(4000) + 0.5) / 4000, free) / free)
    limits = float(stats.t.ppf(1 - ALPHA / 2, free)) * shown

    def missing(shift: float) -> float:
        return float(np.mean(stats.norm.sf(limits - shift) + stats.norm.cdf(-limits - shift))) - POWER

    shift = optimize.brentq(missing, 0.0, 4 * float(limits.max()))
    return float(shift) / math.sqrt(sessions)


def needed(sd: float, effect: float) -> int:
    """Return how many pairs it takes to see ``effect``; never below six."""
    from hardwatt.analysis.paired import pairs_needed

    return max(FEWEST, pairs_needed(sd, effect))
