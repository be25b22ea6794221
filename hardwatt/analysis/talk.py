"""The talk of 2022 re-analysed: every statement of docs/talk.md as a number computed from the published values.

The published values are `hardwatt/data/talk.toml`, with the commit of each. Nothing else goes in but the four
assumptions that are constants below, and each of them is named on the page. `hardwatt.analysis.talk_model` types both.
"""

from __future__ import annotations

import itertools
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hardwatt.analysis.contract import parse
from hardwatt.analysis.paired import pairs_needed
from hardwatt.analysis.talk_model import (
    ByZones,
    Needed,
    Power,
    Published,
    Rate,
    RateRow,
    Reanalysis,
    Supported,
    Timestamp,
    Timestamps,
    TotalRow,
    Totals,
    WattHours,
)

DATA = Path(__file__).parents[1] / "data" / "talk.toml"
NODE_WATTS = 60.0
"""A small server that does little."""
WINDOW_MINUTES = 10
SCATTER_PERCENT = (0.4, 1.0, 2.0)
"""Coefficients of variation of a window's energy: 0.4 % is a good rig's median, 2 % that of a busy machine."""
YEAR = 365 * 86_400
MILLIJOULES_PER_KWH = 3.6e9
JOULES_PER_KWH = MILLIJOULES_PER_KWH / 1000
UNSIGNED = 2**64


def published() -> Published:
    """Return the values as they were published."""
    return parse(Published, tomllib.loads(DATA.read_text(encoding="utf-8")), DATA.name)


def reanalysed() -> Reanalysis:
    """Compute every number of the page."""
    data = published()
    supported = _supported(data)
    return Reanalysis(
        published=data,
        timestamps=_timestamps(data),
        rate=_rate(data),
        totals=_totals(data),
        units=WattHours(joules_per_watt_hour=3600, watts_after_a_day_of_1_w_per_h=24),
        readings=_readings(data),
        supported=supported,
        needed=_needed(supported),
    )


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _timestamps(data: Published) -> Timestamps:
    rows = [Timestamp(**vars(row), utc=_utc(row.value)) for row in data.read_as_energy]
    first, second = rows[0].value, rows[1].value
    real = data.real_answer
    return Timestamps(
        rows=rows,
        kwh=first / MILLIJOULES_PER_KWH,
        apart_seconds=second - first,
        real_millijoules=real.millijoules,
        seconds_before=first - real.time,
        too_large_by=first / real.millijoules,
    )


def counter_rate(values: list[float], seconds: float) -> float:
    """Return ``rate()`` of samples *seconds* apart: increases added up, each fall taken for a restart from zero."""
    steps = itertools.pairwise(values)
    return sum(new - old if new >= old else new for old, new in steps) / (seconds * (len(values) - 1))


def _rate(data: Published) -> Rate:
    """The same mean level told by rate() as three different powers, from two published readings of one pod."""
    step = float(data.sample_seconds)
    low, high = (reading.millijoules["kustomize"] for reading in data.readings("package"))
    steady, moving = [float(high + low) / 2] * 21, [float(low), float(high)] * 10 + [float(low)]
    slow = [float(low)] * 11 + [float(high)] * 10
    return Rate(
        rows=[
            RateRow(what=what, mean_mw=float(np.mean(values[1:])) / step, rate=counter_rate(values, step))
            for what, values in (
                (f"steady at {steady[0]:g} mJ", steady),
                (f"{low} and {high} mJ in turn", moving),
                (f"{low} mJ, then {high} mJ", slow),
            )
        ],
        published=data.rate.value,
        first_pod_mw=next(iter(data.reading[0].millijoules.values())) / step,
        window_hours=24,
    )


def _totals(data: Published) -> Totals:
    wrap = UNSIGNED / 1000  # 2^64 microjoules in millijoules
    parts = data.totals.millijoules
    return Totals(
        rows=[
            TotalRow(
                name=name,
                millijoules=value,
                kwh=value / MILLIJOULES_PER_KWH,
                of_wrap=value / wrap,
                node_years=value / 1000 / NODE_WATTS / YEAR,
            )
            for name, value in parts.items()
        ],
        wrap_millijoules=wrap,
        wrapped=(1000 - 1001) % UNSIGNED,
        sum_kwh=data.totals.sum / MILLIJOULES_PER_KWH,
        gap_millijoules=data.totals.sum - sum(parts.values()),
    )


def _readings(data: Published) -> list[Power]:
    step = data.sample_seconds
    return [
        Power(
            zone=reading.zone,
            utc=_utc(reading.time),
            commit=data.commits[reading.commit],
            milliwatts={name: value / step for name, value in reading.millijoules.items()},
            sum_mw=sum(reading.millijoules.values()) / step,
        )
        for reading in data.reading
    ]


def _supported(data: Published) -> Supported:
    step = data.sample_seconds * 1000
    package, dram = data.sum_millijoules("package") / step, data.sum_millijoules("dram") / step
    readings = data.readings("package")
    tables = [sum(reading.millijoules.values()) / step for reading in readings]
    kustomize = [reading.millijoules["kustomize"] for reading in readings]
    return Supported(
        package_watts=package,
        dram_watts=dram,
        both_watts=package + dram,
        kwh_per_year=(package + dram) * YEAR / JOULES_PER_KWH,
        package_low=min([package, *tables]),
        package_high=max([package, *tables]),
        seconds_between=readings[1].time - readings[0].time,
        kustomize_factor=max(kustomize) / min(kustomize),
        source_factor=data.source_alone.millijoules / readings[0].millijoules["source"],
        source_utc=_utc(data.source_alone.time),
        percent_of_node=100 * (package + dram) / NODE_WATTS,
    )


def _needed(supported: Supported) -> list[Needed]:
    """Pairs and hours of windows to see the controllers on the node, by the scatter of a window."""
    rows = []
    for percent in SCATTER_PERCENT:
        spread = float(np.sqrt(2)) * percent / 100 * NODE_WATTS  # of a difference of two independent windows
        package, both = (pairs_needed(spread, watts) for watts in (supported.package_watts, supported.both_watts))
        rows.append(
            Needed(
                percent=percent,
                watts=percent / 100 * NODE_WATTS,
                pairs=ByZones(package, both),
                hours=ByZones(2 * WINDOW_MINUTES * package / 60, 2 * WINDOW_MINUTES * both / 60),
            )
        )
    return rows
