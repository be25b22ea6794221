"""``invoke experiment.import``: data measured elsewhere into a bundle, so that the same rules judge it.

Two forms. Prometheus' range JSON (the answer of /api/v1/query_range, or of a range selector) keeps its series as they
are, unless ``unit`` says that they are the node's energy. CSV has a column ``timestamp`` (seconds since 1970, or ISO
8601 with its zone), a column ``joules`` (a counter that rises) or ``watts`` (readings), and may have ``zone``.
"""

import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from hardwatt.bundle.checkout import provenance
from hardwatt.bundle.model import Run, SeriesSamples
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import LabError, RefusedError, SettingsError, VerifyError
from hardwatt.core.files import sha256
from hardwatt.core.untrusted import show
from hardwatt.dump import parse
from hardwatt.dump.job import LATEST_MS, moment
from hardwatt.dump.ordering import each_moment_once
from hardwatt.dump.repeats import without_repeats
from hardwatt.instruments.node import RANGE, WATTS
from hardwatt.instruments.zones import HOSTS, host_of, hosts_of, metric_of, zone_of
from hardwatt.instruments.zones import named as in_words
from hardwatt.meter.zones import Zone, choose, place

Unit = Literal["", "joules", "millijoules", "microjoules", "kilowatt-hours", "watts"]
UNITS = ("joules", "millijoules", "microjoules", "kilowatt-hours", "watts")
_JOULES: Mapping[str, float] = {"millijoules": 1e-3, "microjoules": 1e-6, "kilowatt-hours": 3.6e6}
"""Joules of each unit of a counter."""
_PATH = "/imported"


@dataclass(frozen=True)
class Window:
    """One window of the imported data; times in ms since 1970."""

    run_id: str
    arm: str
    block: int
    position: int
    t0_ms: int
    t1_ms: int


@dataclass(frozen=True)
class Options:
    """``unit`` and ``metric``: which series of a JSON are the node's energy. ``interval``: seconds between two samples
    (0: their median). ``range_joules``: where the counter wraps (0: it does not)."""

    source: Literal["rapl", "modelled"]
    unit: Unit = ""
    metric: str = ""
    interval: float = 0.0
    range_joules: float = 0.0
    host: str = ""
    """The one host of a JSON that holds series of several."""


def read(file: Path, options: Options) -> list[SeriesSamples]:
    """Return the series of a file as a bundle holds them; raise VerifyError that names the line or series at fault."""
    if not file.exists():
        raise SettingsError(f"there is no file {file}", hint="invoke experiment.import FILE --source rapl")
    text = file.read_text(encoding="utf-8-sig")
    series = _of_json(text, options) if text.lstrip().startswith("{") else _of_csv(text)
    series = [samples for samples in series if samples.ts.size]
    if not series:
        wanted = " of ".join(["", *filter(None, (options.metric, options.host))])
        raise VerifyError(f"{file} holds no samples{wanted}")
    series = [each_moment_once(samples, VerifyError) for samples in series]
    # A counter's repeats are left out where it is integrated; readings of power may be equal by right.
    return [without_repeats(samples) if samples.labels["__name__"] == WATTS else samples for samples in series]


def _of_json(text: str, options: Options) -> list[SeriesSamples]:
    try:
        series = parse.matrix(text)
    except parse.OddError as error:
        raise VerifyError(f"not an answer of Prometheus' range queries: {error}") from None
    if options.metric:
        series = [samples for samples in series if samples.labels.get("__name__") == options.metric]
    if options.host:
        series = [samples for samples in series if host_of(samples.labels) == options.host]
    _moments_are_seconds(series)
    if not options.unit:
        if any("__name__" not in samples.labels for samples in series):
            raise VerifyError("a series has no name: it was computed", hint="--unit joules or watts says what it is")
        return series
    _one_node(series)
    factor = _JOULES.get(options.unit, 1.0)
    named = [
        _named(options.unit, _zone_of(samples.labels), number, samples.labels) for number, samples in enumerate(series)
    ]
    told = [
        SeriesSamples(labels, samples.ts, samples.values * factor)
        for labels, samples in zip(named, series, strict=True)
    ]
    return _packages(told) if options.unit == "watts" else told


def _one_node(series: Sequence[SeriesSamples]) -> None:
    """Raise VerifyError unless all series may be parts of one node's energy."""
    hosts = hosts_of(samples.labels for samples in series)
    if len(hosts) > 1:
        raise VerifyError(f"the file holds {len(hosts)} hosts: {in_words(hosts)}", hint="--host NAME takes one of them")
    names = {samples.labels.get("__name__", "") for samples in series}
    if len(names) > 1 and not all(zone_of(samples.labels) for samples in series):
        raise VerifyError(f"more than one metric: {', '.join(sorted(names))}", hint="--metric NAME takes one")


def _zone_of(labels: Mapping[str, str]) -> str:
    """Return the zone that a label or node_exporter's metric names; empty: the whole series is the node's energy."""
    if zone := zone_of(labels):
        return zone.name
    return labels.get("zone", "")


def _packages(series: Sequence[SeriesSamples]) -> list[SeriesSamples]:
    """Return the series of watts that add up: those of the CPU packages, where zones are named at all."""
    zones = [
        Zone(samples.labels.get("zone", ""), samples.labels.get("path", "").rpartition("/")[2]) for samples in series
    ]
    if not any(zone.name for zone in zones):
        return list(series)
    choice = choose(zones, [""] * len(zones))
    if not choice.counted:
        kinds = ", ".join(sorted({place(zone.name).kind for zone in zones}))
        raise VerifyError(f"no zone of a CPU package: {kinds}", hint="zones overlap: give the packages' series")
    return [series[number] for number in choice.counted]


def _moments_are_seconds(series: Sequence[SeriesSamples]) -> None:
    for samples in series:
        if samples.ts.size and not 0 <= int(samples.ts.min()) <= int(samples.ts.max()) <= LATEST_MS:
            raise VerifyError(
                f"{samples.labels.get('__name__', 'a series')} has moments that are no seconds since 1970",
                hint="seconds with a decimal point, not milliseconds or microseconds",
            )


def _of_csv(text: str) -> list[SeriesSamples]:
    rows = csv.DictReader(text.splitlines())
    columns = [name.strip().lower() for name in rows.fieldnames or []]
    rows.fieldnames = columns
    units = [name for name in ("joules", "watts") if name in columns]
    if "timestamp" not in columns or len(units) != 1:
        raise VerifyError(f"the columns are {', '.join(columns)}", hint="timestamp, and either joules or watts")
    by_zone: dict[str, list[tuple[int, float]]] = {}
    for number, row in enumerate(rows, start=2):
        by_zone.setdefault(_zone(row, number), []).append(_point(row, units[0], number))
    return [
        SeriesSamples(
            _named(units[0], zone, number, {}),
            np.array([ts for ts, _ in points], dtype=np.int64),
            np.array([value for _, value in points], dtype=np.float64),
        )
        for number, (zone, points) in enumerate(sorted(by_zone.items()))
    ]


def _zone(row: Mapping[str, Any], number: int) -> str:
    zone = str(row.get("zone") or "package").strip()
    if place(zone).kind != "package":
        raise VerifyError(
            f"line {number}: the zone {show(zone) if not zone.isprintable() else zone} is no CPU package",
            hint="zones overlap: keep the rows of packages alone",
        )
    return zone


def _point(row: Mapping[str, Any], unit: str, number: int) -> tuple[int, float]:
    try:
        return moment(str(row["timestamp"])), float(row[unit])
    except (ValueError, TypeError, LabError):
        raise VerifyError(
            f"line {number}: {row['timestamp']!r}, {row[unit]!r} is no moment with a number",
            hint="seconds since 1970, or 2026-11-24T10:00:00Z; a number with a decimal point",
        ) from None


def _named(unit: str, zone: str, number: int, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of an imported series: those of node_exporter's zone that it is, or of readings of power."""
    if unit != "watts" and zone_of(labels):
        return dict(labels)
    kept = {name: labels[name] for name in (*HOSTS, "path") if labels.get(name)}
    if unit == "watts":
        return {"__name__": WATTS, "number": str(number), **kept, **({"zone": zone} if zone else {})}
    own = {"path": f"{_PATH}:{number}", **({"zone": zone} if zone else {"index": str(number)})}
    return {"__name__": metric_of(place(zone).kind if zone else "package"), **own, **kept}


def read_windows(file: Path) -> list[Window]:
    """Return the windows of a CSV with run_id, arm, start, end, and block and position where arms are paired."""
    windows = []
    with file.open(encoding="utf-8-sig", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                block, position = int(row.get("block") or number - 2), int(row.get("position") or 0)
                begin, end = moment(row["start"]), moment(row["end"])
                windows.append(Window(row["run_id"], row["arm"], block, position, begin, end))
            except (KeyError, ValueError, LabError) as error:
                raise VerifyError(
                    f"{file}, line {number}: {error}", hint="run_id,arm,block,position,start,end"
                ) from None
    if not windows:
        raise VerifyError(f"{file} holds no window", hint="run_id,arm,block,position,start,end")
    return windows


def whole(series: Sequence[SeriesSamples]) -> Window:
    """Return the window that every series covers."""
    begin, end = max(int(samples.ts[0]) for samples in series), min(int(samples.ts[-1]) for samples in series)
    if end <= begin:
        raise VerifyError("the series have no time in common", hint="--runs FILE gives the windows")
    return Window("import", "import", 0, 0, begin, end)


def bundle(file: Path, series: Sequence[SeriesSamples], windows: Sequence[Window], options: Options, out: Path) -> Path:
    """Write a finished bundle of the series and windows into the new folder ``out`` and return it.

    All of it or nothing: where it fails, no folder is left. Raise RefusedError where ``out`` holds something.
    """
    if out.exists() and any(out.iterdir()):
        raise RefusedError(f"{out} is not empty", hint="--out names another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name[:100]}.") as folder:
        made = _bundle(file, series, windows, options, Path(folder) / "bundle")
        made.replace(out)
    return out


def _bundle(
    file: Path, series: Sequence[SeriesSamples], windows: Sequence[Window], options: Options, out: Path
) -> Path:
    seconds = options.interval or _interval(series)
    facts = {"kind": "import", "imported": file.name, "imported_sha256": sha256(file), "scrape_seconds": seconds}
    writer = Writer.create(out, _plan(windows), provenance(seed=0, source=options.source, host=facts))
    margin = round(10 * seconds * 1000)
    for window in windows:
        _write(writer, window, series, margin, options)
        writer.add_run(
            Run(window.run_id, window.block, window.position, window.arm, 0, "done", "", window.t0_ms, window.t1_ms)
        )
    writer.finish()
    return out


def _interval(series: Sequence[SeriesSamples]) -> float:
    """Return the seconds between two readings: a counter's value that is repeated is no new one."""
    steps = np.concatenate([np.diff(samples.ts[_new(samples)]) for samples in series])
    return float(np.median(steps)) / 1000 if steps.size else 1.0


def _new(samples: SeriesSamples) -> npt.NDArray[np.bool_]:
    new = np.ones(samples.ts.size, dtype=np.bool_)
    if samples.labels.get("__name__") != WATTS:
        new[1:] = np.diff(samples.values) != 0
    return new if new.sum() > 1 else np.ones(samples.ts.size, dtype=np.bool_)


def _plan(windows: Sequence[Window]) -> dict[str, Any]:
    return {
        "study": "import",
        "seed": 0,
        "arms": list(dict.fromkeys(window.arm for window in windows)),
        "window_seconds": max(window.t1_ms - window.t0_ms for window in windows) / 1000,
        "primary": {"outcome": "node_joules", "unit": "J", "estimator": "mean paired difference"},
        "runs": [
            {"run_id": window.run_id, "block": window.block, "position": window.position, "arm": window.arm}
            for window in windows
        ],
    }


def _write(writer: Writer, window: Window, series: Sequence[SeriesSamples], margin: int, options: Options) -> None:
    by_metric: dict[str, list[SeriesSamples]] = {}
    for samples in series:
        inside = (samples.ts >= window.t0_ms - margin) & (samples.ts <= window.t1_ms + margin)
        cut = SeriesSamples(samples.labels, samples.ts[inside], samples.values[inside])
        by_metric.setdefault(samples.labels["__name__"], []).append(cut)
    for samples in [samples for rows in by_metric.values() for samples in rows] if options.range_joules else []:
        if (zone := zone_of(samples.labels)) and samples.ts.size and zone.folder:
            limit = SeriesSamples(
                {"__name__": RANGE, "path": samples.labels["path"]}, samples.ts[:1], np.array([options.range_joules])
            )
            by_metric.setdefault(RANGE, []).append(limit)
    for metric, rows in by_metric.items():
        writer.add_samples(window.run_id, metric, [samples for samples in rows if samples.ts.size])
