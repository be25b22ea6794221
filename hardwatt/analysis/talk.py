"""The talk of 2022 re-analysed: every statement of docs/talk.md as a number computed from the published values.

The published values are `hardwatt/data/talk.toml`, with the commit of each. Nothing else goes in but the four
assumptions that are constants below, and each of them is named on the page.
"""

from __future__ import annotations

import itertools
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from hardwatt.analysis.figures import Json
from hardwatt.analysis.paired import pairs_needed

DATA = Path(__file__).parents[1] / "data" / "talk.toml"
NODE_WATTS = 60.0
"""A small server that does little."""
WINDOW_MINUTES = 10
SCATTER_PERCENT = (0.4, 1.0, 2.0)
"""Coefficients of variation of a window's energy: 0.4 % is a good rig's median, 2 % that of a busy machine."""
YEAR = 365 * 86_400
MILLIJOULES_PER_KWH = 3.6e9
UNSIGNED = 2**64


def published() -> Json:
    """Return the values as they were published."""
    return tomllib.loads(DATA.read_text(encoding="utf-8"))


def reanalysed() -> Json:
    """Compute everything that the page says; plain numbers with their unit in the key."""
    data = published()
    return {
        "published": data,
        "timestamps": _timestamps(data),
        "rate": _rate(data),
        "totals": _totals(data),
        "units": {"joules_per_watt_hour": 3600, "watts_after_a_day_of_1_w_per_h": 24},
        "readings": _readings(data),
        "supported": _supported(data),
        "needed": _needed(_supported(data)),
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _timestamps(data: Json) -> Json:
    rows = [row | {"utc": _utc(row["value"])} for row in data["read_as_energy"]]
    first, second = rows[0]["value"], rows[1]["value"]
    real = data["real_answer"]
    return {
        "rows": rows,
        "kwh": first / MILLIJOULES_PER_KWH,
        "apart_seconds": second - first,
        "real_millijoules": real["millijoules"],
        "seconds_before": first - real["time"],
        "too_large_by": first / real["millijoules"],
    }


def counter_rate(values: list[float], seconds: float) -> float:
    """What rate() makes of samples *seconds* apart: increases added up, each fall taken for a restart from zero."""
    steps = itertools.pairwise(values)
    return sum(new - old if new >= old else new for old, new in steps) / (seconds * (len(values) - 1))


def _rate(data: Json) -> Json:
    """The same mean level told by rate() as three different powers, from two published readings of one pod."""
    step = float(data["sample_seconds"])
    low, high = (row["millijoules"]["kustomize"] for row in data["reading"] if row["zone"] == "package")
    steady, moving = [float(high + low) / 2] * 21, [float(low), float(high)] * 10 + [float(low)]
    slow = [float(low)] * 11 + [float(high)] * 10
    rows = [
        {"what": what, "mean_mw": float(np.mean(values[1:])) / step, "rate": counter_rate(values, step)}
        for what, values in (
            (f"steady at {steady[0]:g} mJ", steady),
            (f"{low} and {high} mJ in turn", moving),
            (f"{low} mJ, then {high} mJ", slow),
        )
    ]
    first_pod = next(iter(data["reading"][0]["millijoules"].values())) / step
    return {
        "rows": rows,
        "published": data["rate"]["value"],
        "first_pod_mw": first_pod,
        "window_hours": 24,
    }


def _totals(data: Json) -> Json:
    totals = data["totals"]
    one = UNSIGNED / 1000  # 2^64 microjoules in millijoules
    parts = totals["millijoules"]
    rows = [
        {
            "name": name,
            "millijoules": value,
            "kwh": value / MILLIJOULES_PER_KWH,
            "of_one": value / one,
            "node_years": value / 1000 / NODE_WATTS / YEAR,
        }
        for name, value in parts.items()
    ]
    gap = totals["sum"] - sum(parts.values())
    return {
        "rows": rows,
        "one_millijoules": one,
        "back_by_one": (1000 - 1001) % UNSIGNED,
        "sum_kwh": totals["sum"] / MILLIJOULES_PER_KWH,
        "gap_millijoules": gap,
        "utc": _utc(totals["time"]),
    }


def _readings(data: Json) -> list[Json]:
    step = data["sample_seconds"]
    return [
        {
            "zone": row["zone"],
            "utc": _utc(row["time"]),
            "commit": data["commits"][row["commit"]],
            "milliwatts": {name: value / step for name, value in row["millijoules"].items()},
            "sum_mw": sum(row["millijoules"].values()) / step,
        }
        for row in data["reading"]
    ]


def _supported(data: Json) -> Json:
    step = data["sample_seconds"] * 1000
    package, dram = (
        next(row["millijoules"] for row in data["sum"] if row["zone"] == zone) / step for zone in ("package", "dram")
    )
    tables = [sum(row["millijoules"].values()) / step for row in data["reading"] if row["zone"] == "package"]
    package_rows = [row for row in data["reading"] if row["zone"] == "package"]
    kustomize = [row["millijoules"]["kustomize"] for row in package_rows]
    return {
        "package_watts": package,
        "dram_watts": dram,
        "both_watts": package + dram,
        "kwh_per_year": (package + dram) * YEAR / JOULES_PER_KWH,
        "package_low": min([package, *tables]),
        "package_high": max([package, *tables]),
        "seconds_between": package_rows[1]["time"] - package_rows[0]["time"],
        "kustomize_factor": max(kustomize) / min(kustomize),
        "source_factor": data["source_alone"]["millijoules"] / package_rows[0]["millijoules"]["source"],
        "source_utc": _utc(data["source_alone"]["time"]),
        "percent_of_node": 100 * (package + dram) / NODE_WATTS,
    }


JOULES_PER_KWH = MILLIJOULES_PER_KWH / 1000


def _needed(supported: Json) -> list[Json]:
    """Pairs and hours of windows to see the controllers on the node, by the scatter of a window."""
    rows: list[dict[str, Any]] = []
    for percent in SCATTER_PERCENT:
        spread = np.sqrt(2) * percent / 100 * NODE_WATTS  # of a difference of two independent windows
        pairs = {name: pairs_needed(spread, supported[f"{name}_watts"]) for name in ("package", "both")}
        hours = {name: 2 * WINDOW_MINUTES * number / 60 for name, number in pairs.items()}
        rows.append({"percent": percent, "watts": percent / 100 * NODE_WATTS, "pairs": pairs, "hours": hours})
    return rows
