"""Samples in order of time, each moment once."""

import numpy as np

from hardwatt.bundle.model import SeriesSamples
from hardwatt.core.errors import LabError


def each_moment_once(samples: SeriesSamples, error: type[LabError]) -> SeriesSamples:
    """Return the samples by time; a sample that is there twice is kept once.

    Raise ``error`` naming the series where one moment has two values.
    """
    order = np.argsort(samples.ts, kind="stable")
    ts, values = samples.ts[order], samples.values[order]
    again = np.diff(ts, prepend=ts[:1] - 1) == 0
    twice = again[1:] & (values[1:] != values[:-1]) & ~(np.isnan(values[1:]) & np.isnan(values[:-1]))
    if twice.any():
        raise error(f"{dict(samples.labels)} has two values at {int(ts[1:][twice][0])} ms")
    return SeriesSamples(samples.labels, ts[~again], values[~again])
