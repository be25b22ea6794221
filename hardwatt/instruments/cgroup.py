"""Attribution by cgroup: CPU-seconds of pods by namespace, dead pods included, from the kubelet's cAdvisor."""

import re
from dataclasses import dataclass

from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.node import GAP_INTERVALS, cpus, scrape_seconds
from hardwatt.instruments.readings import scraped
from hardwatt.instruments.windows import Rule, WindowError, integrate

CPU = "container_cpu_usage_seconds_total"
GAP_MS = 20_000.0
"""cAdvisor leaves up to 15 s between readings of a cgroup that uses nothing; the bounds carry it. Scrapes that are more
than a second apart skip readings: the silence grows by ``GAP_INTERVALS`` of what they are apart more."""

TAIL_MS = 500.0
"""A cgroup in use is read every one to two housekeeping intervals (cAdvisor's jitter), and what was read last before
its end may have missed a scrape; this much more for both. An idle one's interval doubles each time."""
KUBELETS_OWN_SECONDS = 10.0
"""The kubelet's housekeeping interval, where scrapes are not closer than that; else it is the scrape interval."""

_POD = re.compile(r"kubepods.*[/-]pod[^/]*$")
_ROOT = re.compile(r"^.*?/(?:[^/]*-)?kubepods(?:\.slice)?(?=/|$)")
_UNKNOWN = "(unknown)"


@dataclass(frozen=True)
class Attribution:
    """CPU-seconds of one run: by namespace, all pods together, kubepods' own counter; how often one went back."""

    by_namespace: dict[str, Figure]
    pods: Figure
    kubepods: Figure | None
    resets: int


def namespaces(bundle: Bundle) -> list[str]:
    """Return every namespace that has pods anywhere in the bundle: one without pods in a run used nothing there."""
    names = {labels.get("namespace", "") for labels in bundle.series.values() if labels.get("__name__") == CPU}
    return sorted(names - {""})


def gap_ms(bundle: Bundle) -> float:
    """Return the longest silence of a cgroup that is accepted."""
    return GAP_MS + GAP_INTERVALS * 1000 * max(0.0, scrape_seconds(bundle) - 1)


def tail_ms(bundle: Bundle) -> float:
    """Return how long before its end, or after its birth, a busy cgroup was read and scraped at most."""
    every = scrape_seconds(bundle)
    return TAIL_MS + 1000 * (2 * min(every, KUBELETS_OWN_SECONDS) + every)


def attribution(bundle: Bundle, run: Run) -> Attribution:
    """Integrate every pod's cgroup; raise WindowError that names the first one that is refused."""
    samples = scraped(bundle, run, CPU)
    if samples.is_empty():
        raise WindowError(f"no samples of {CPU}")
    places = _places(bundle, samples)
    # A pod's labels go when the kubelet forgets it, its cgroup's name stays: series of one cgroup are one counter.
    merged = _by_cgroup(samples, places)
    rule = Rule(max_gap_ms=gap_ms(bundle), max_rate=cpus(bundle), births=True, tail_ms=tail_ms(bundle))
    result = integrate(merged, run.t0_ms, run.t1_ms, rule)
    refused = result.filter(pl.col("problem") != "")
    names = dict(places.select("cgroup", "id").unique().iter_rows())
    if refused.height:
        row = refused.row(0, named=True)
        raise WindowError(f"{CPU} of {names[row['series_id']]}: {row['problem']}")
    known = places.group_by("cgroup").agg(pl.col("namespace").max(), pl.col("kind").first())
    table = result.join(known, left_on="series_id", right_on="cgroup")
    pods = table.filter(pl.col("kind") == "pod")
    by_namespace = {name: _sum(pods.filter(pl.col("namespace") == name)) for name in namespaces(bundle)}
    if (strangers := pods.filter(pl.col("namespace") == "")).height:
        by_namespace[_UNKNOWN] = _sum(strangers)
    parent, resets = table.filter(pl.col("kind") == "kubepods"), int(table["resets"].sum())
    if not parent.height:
        return Attribution(by_namespace, _sum(pods), None, resets)
    whole = _sum(parent)
    return Attribution(within(by_namespace, whole), _sum(pods), whole, resets)


def _by_cgroup(samples: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Return the samples of the cgroups that matter, numbered by cgroup."""
    if places["cgroup"].n_unique() < places.height:
        numbers = places.select("series_id", "cgroup")
        joined = samples.join(numbers, on="series_id", maintain_order="left")
        return joined.select("ts", "value", series_id="cgroup")
    # Each has one series, whose number is its own.
    if samples["series_id"].n_unique() == places.height:
        return samples
    return samples.filter(pl.col("series_id").is_in(places["series_id"].to_list()))


def within(parts: dict[str, Figure], whole: Figure) -> dict[str, Figure]:
    """Narrow bounds: kubepods' own counter holds all pods, the dead ones too, so the parts add up to it.

    What a dead pod gained after its last sample is otherwise bounded by its pace and the longest silence only.
    """
    low, high = (sum(getattr(part, name) for part in parts.values()) for name in ("low", "high"))
    narrowed = {}
    for name, part in parts.items():
        least, most = whole.low - (high - part.high), whole.high - (low - part.low)
        # A limit beyond the estimate itself says that the two counters disagree: it narrows nothing.
        least = max(part.low, least) if least <= part.value else part.low
        most = min(part.high, most) if most >= part.value else part.high
        narrowed[name] = Figure(part.value, part.unit, part.source, least, most)
    return narrowed


def _places(bundle: Bundle, samples: pl.DataFrame) -> pl.DataFrame:
    """Return series_id, id and namespace of each cgroup that matters, its kind, and one number for equal ids."""
    rows = []
    for number in samples["series_id"].unique().sort():
        labels = bundle.series[number]
        path, namespace = labels.get("id", ""), labels.get("namespace", "")
        if labels.get("container") or labels.get("image"):
            continue
        root = _root(path)
        if labels.get("pod") or _POD.search(path):
            rows.append((number, path or labels["pod"], namespace, "pod", root))
        elif path and path == root:
            rows.append((number, path, "", "kubepods", root))
    # The kubelet sees every cgroup of its host: those of another machine there are not this node's pods.
    own = {row[4] for row in rows if row[2]}
    rows = [row for row in rows if not own or row[4] in own]
    schema = dict.fromkeys(("id", "namespace", "kind", "root"), pl.String)
    frame = pl.DataFrame(rows, schema={"series_id": pl.Int64, **schema}, orient="row")
    # Numbered by their first series: samples in order of series are then in order of cgroups too.
    return frame.with_columns(cgroup=pl.col("series_id").min().over("id"))


def _root(path: str) -> str:
    """Return the cgroup of all pods that a path lies in; the empty text where it lies in none."""
    match = _ROOT.match(path)
    return match[0] if match else ""


def _sum(rows: pl.DataFrame) -> Figure:
    value, low, high = (float(rows[name].sum()) for name in ("value", "low", "high"))
    return Figure(value, "CPU-seconds", "cAdvisor, cgroups of pods", min(low, value), max(high, value))
