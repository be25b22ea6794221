"""Readings of power that a range query repeated: it gives the last scrape again at each of its steps."""

import numpy as np

from hardwatt.bundle.model import SeriesSamples

FEWEST_RUNS = 4
"""So many runs of equal values, all of one length or its multiples, are no chance."""


def without_repeats(samples: SeriesSamples) -> SeriesSamples:
    """Return one reading for each scrape where values are repeated as a range query repeats them; else all of them.

    The query's steps are equal, and between two changes lie as many of them as between two scrapes, or a multiple
    where two scrapes gave the same. What comes before the first change was read at a moment that nobody knows.
    """
    steps, values = np.diff(samples.ts), samples.values
    if values.size < 2 or np.unique(steps).size != 1:
        return samples
    changes = np.flatnonzero(np.diff(values) != 0) + 1
    lengths = np.diff(changes)
    if lengths.size < FEWEST_RUNS or (each := int(lengths.min())) < 2:
        return samples
    if bool(np.any(lengths % each)) or np.mean(lengths == each) < 0.5:
        return samples
    first = int(changes[0])
    kept = np.arange(first, values.size, each)
    return SeriesSamples(samples.labels, samples.ts[kept], values[kept])
