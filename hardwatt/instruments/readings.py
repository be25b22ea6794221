"""Counters of a run as points in time: direct readings at the edges and scraped samples, on one time axis.

The meter says when it read (``hardwatt_meter_read_timestamp_seconds``), so its counters stand at that moment and
not at the scrape's, whatever the scrape's delay.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from hardwatt.bundle.exposition import labels_of
from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Edge, Run
from hardwatt.bundle.reader import Bundle

_TARGET = ("__name__", "instance", "job", "endpoint", "service", "namespace", "pod", "node", "container")
READ_AT = "hardwatt_meter_read_timestamp_seconds"
UNIT_READ_AT = "hardwatt_unit_read_timestamp_seconds"
POINTS = {"series_id": pl.Int64, "ts": pl.Float64, "value": pl.Float64}


@dataclass(frozen=True)
class Counter:
    """One counter in one run: ``points`` has series_id, ts (ms, float) and value."""

    labels: Mapping[str, str]
    points: pl.DataFrame


def own_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that the exporter itself writes: what a scrape adds to name its target is left out."""
    return {key: value for key, value in labels.items() if key not in _TARGET}


def scraped(bundle: Bundle, run: Run, metric: str) -> pl.DataFrame:
    """Return series_id, ts (ms), value of the samples of one metric in one run."""
    return _scraped(bundle, run.run_id, metric)


# Several figures of a run come from the same samples; a few frames are kept, so that memory is that of a run or two.
@lru_cache(maxsize=12)
def _scraped(bundle: Bundle, run_id: str, metric: str) -> pl.DataFrame:
    frame = bundle.samples(metric, run_id).select("series_id", "ts", "value").collect()
    return frame.cast({"series_id": pl.Int64, "ts": pl.Float64})


def edges_of(bundle: Bundle, run: Run) -> list[Edge]:
    """Return the edges of one run."""
    return [edge for edge in bundle.edges if edge.run_id == run.run_id]


def counters(bundle: Bundle, run: Run, metric: str, *, moment: str = "", edges: bool = True) -> list[Counter]:
    """Return the counters of ``metric`` in ``run``, one for each set of the exporter's own labels.

    ``moment`` names the metric that holds the moment of reading in seconds: samples that were scraped together
    with it are put there, others are dropped (they cannot be placed). Where nothing tells the moment, the
    scrape's time stands. ``edges`` adds the direct readings.
    """
    return list(_counters(bundle, run, metric, moment, edges))


# The node's CPU-seconds and those of its units are needed by five figures each; as many counters as a run or two have.
@lru_cache(maxsize=16)
def _counters(bundle: Bundle, run: Run, metric: str, moment: str, edges: bool) -> tuple[Counter, ...]:
    by_labels: dict[tuple[tuple[str, str], ...], list[pl.DataFrame]] = {}
    samples = scraped(bundle, run, metric)
    moments = scraped(bundle, run, moment) if moment else samples.clear()
    if not moments.is_empty():
        samples = _at_their_moment(bundle, samples, moments)
    for (series_id,), part in samples.group_by("series_id"):
        key = _key(bundle.series[int(str(series_id))])
        by_labels.setdefault(key, []).append(part)
    for edge in edges_of(bundle, run) if edges else []:
        for text, value in edge.values.items():
            if text.partition("{")[0] == metric:
                at = _edge_moment(edge, labels_of(text), moment)
                by_labels.setdefault(_key(labels_of(text)), []).append(_points([(at, value)]))
    return tuple(
        Counter(dict(key), pl.concat(parts).with_columns(series_id=pl.lit(0, pl.Int64)))
        for key, parts in sorted(by_labels.items())
    )


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(own_labels(labels).items()))


def _points(rows: Iterable[tuple[float, float]]) -> pl.DataFrame:
    return pl.DataFrame([(0, at, value) for at, value in rows], schema=POINTS, orient="row")


def _at_their_moment(bundle: Bundle, samples: pl.DataFrame, moments: pl.DataFrame) -> pl.DataFrame:
    """Replace each sample's time by the moment that the same scrape of the same target gave for it."""
    present = {*samples["series_id"].unique(), *moments["series_id"].unique()}
    rows = [(number, _target(bundle.series[number])) for number in present]
    targets = pl.DataFrame(rows, schema={"series_id": pl.Int64, "target": pl.String}, orient="row")
    at = moments.join(targets, on="series_id").select("target", "ts", at="value")
    joined = samples.join(targets, on="series_id").join(at, on=["target", "ts"], how="inner")
    return joined.select("series_id", ts=pl.col("at") * 1000, value="value")


def _target(labels: Mapping[str, str]) -> str:
    """Return what must be equal for a sample and its moment: the scraped target, and the unit where there is one."""
    return "|".join(labels.get(key, "") for key in ("job", "instance", "unit"))


def _edge_moment(edge: Edge, labels: Mapping[str, str], moment: str) -> float:
    """Return when the meter read what an edge tells (ms); the node's clock at the reply where it does not say."""
    unit = labels.get("unit", "")
    series = f'{moment}{{unit="{unit}"}}' if unit else moment
    return edge.values[series] * 1000 if series in edge.values else float(edge.node_ms)
