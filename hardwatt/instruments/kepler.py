"""Kepler's attribution: joules of pods by namespace, with its known bias beside it. Secondary, never the headline.

Kepler (0.10 and later) polls /proc: processes that live shorter than its interval are not seen, and their energy goes
to the pods that are. So every figure here comes with ``closure.kepler_pods_of_active``, ``check.kepler_bias.NAMESPACE``
(Kepler's share of a namespace over the share that cgroups give it: 1 is no bias) and, where Kepler exports CPU-seconds,
``check.kepler_unseen``. Where /proc/stat is not the node's own, nothing of it is valid and nothing is given.
"""

from collections.abc import Iterator

from hardwatt.bundle.frames import pl
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.instruments import cgroup
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.node import cpus, scrape_gap_ms
from hardwatt.instruments.power import MAX_WATTS
from hardwatt.instruments.readings import scraped
from hardwatt.instruments.windows import Rule, WindowError, integrate

POD = "kepler_pod_cpu_joules_total"
ACTIVE = "kepler_node_cpu_active_joules_total"
INFO = "kepler_build_info"
CPU_SEEN = {"kepler_container_cpu_seconds_total": ("container_id",),
            "kepler_process_cpu_seconds_total": ("container_id", "pid")}  # fmt: skip
"""Metric -> labels of what it counts. Up to 0.11.4 there is that of processes alone (with ``process`` in metricsLevel),
then that of containers too. Other labels change while the counter goes on: ``state``, when a container ends, and
``comm`` and ``exe``, when a process starts another program."""

ZONE = "package"
GAP_MS = 15_000.0
STALE_MS = 500.0
"""A scrape has Kepler compute anew what is older than half a second: so old may a value be."""
NOT_VALID = "not valid on this machine: Kepler divides by /proc/stat, which is the whole host's here"


def present(bundle: Bundle) -> bool:
    """Tell whether the bundle holds anything of Kepler's pods."""
    return any(labels.get("__name__") == POD for labels in bundle.series.values())


def version(bundle: Bundle) -> str:
    """Return Kepler's version: attribution changed from version to version, so a figure without it says little."""
    built = (row.get("version", "") for row in bundle.series.values() if row.get("__name__") == INFO)
    return next((text for text in built if text), "") or bundle.manifest.versions.get("kepler", "of unknown version")


def figures(bundle: Bundle, run: Run) -> Iterator[tuple[str, Figure | str]]:
    """Yield each outcome's name with its figure, or with the reason why there is none."""
    if not present(bundle):
        return
    host = bundle.manifest.host
    if host.get("proc_stat", "host" if host.get("kind") == "embedded" else "node") != "node":
        yield "kepler_joules.*", NOT_VALID
        return
    try:
        pods = joules(bundle, run)
    except WindowError as error:
        yield "kepler_joules.*", error.reason
        return
    for namespace, figure in pods.items():
        yield f"kepler_joules.{namespace}", figure
    yield "closure.kepler_pods_of_active", _closure(bundle, run, pods)
    yield from _beside_cgroups(bundle, run, pods)


def joules(bundle: Bundle, run: Run) -> dict[str, Figure]:
    """Return the package energy that Kepler gives the pods of each namespace; raise WindowError where one is refused.

    A pod's running and terminated series are one counter. It is set to zero by an interval without energy: a reset.
    """
    labels = bundle.series
    samples = scraped(bundle, run, POD)
    rows = [
        (number, labels[number].get("pod_id", ""), labels[number].get("pod_namespace", ""))
        for number in samples["series_id"].unique().sort()
        if labels[number].get("zone") == ZONE
    ]
    known = pl.DataFrame(
        rows, schema={"series_id": pl.Int64, "pod": pl.String, "namespace": pl.String}, orient="row"
    ).with_columns(number=pl.col("pod").rank("dense").cast(pl.Int64))
    merged = samples.join(known, on="series_id").group_by("number", "ts").agg(pl.col("value").max())
    rule = Rule(max_gap_ms=_gap_ms(bundle), max_rate=MAX_WATTS, births=True, tail_ms=_gap_ms(bundle))
    result = integrate(merged.rename({"number": "series_id"}), run.t0_ms, run.t1_ms, rule)
    names = known.unique("number").select(series_id="number", pod="pod", namespace="namespace")
    table = result.join(names, on="series_id")
    if (refused := table.filter(pl.col("problem") != "")).height:
        row = refused.row(0, named=True)
        raise WindowError(f"{POD} of pod {row['pod']} in {row['namespace']}: {row['problem']}")
    source = f"Kepler {version(bundle)}, active energy of the CPU packages by the processes that it saw"
    return {str(name): _sum(part, run, "J", source) for (name,), part in sorted(table.group_by("namespace"))}


def _gap_ms(bundle: Bundle) -> float:
    return max(GAP_MS, scrape_gap_ms(bundle))


def _sum(rows: pl.DataFrame, run: Run, unit: str, source: str) -> Figure:
    value, low, high = (float(rows[name].sum()) for name in ("value", "low", "high"))
    slack = value / run.seconds * STALE_MS / 1000
    return Figure(value, unit, source, max(0.0, min(low, value) - slack), max(high, value) + slack)


def _closure(bundle: Bundle, run: Run, pods: dict[str, Figure]) -> Figure | str:
    labels = bundle.series
    own = [number for number, row in labels.items() if row.get("__name__") == ACTIVE and row.get("zone") == ZONE]
    samples = scraped(bundle, run, ACTIVE).filter(pl.col("series_id").is_in(own))
    result = integrate(samples, run.t0_ms, run.t1_ms, Rule(max_gap_ms=_gap_ms(bundle), max_rate=MAX_WATTS))
    if result.height == 0:
        return f"no samples of {ACTIVE}"
    if problem := next((text for text in result["problem"] if text), ""):
        return f"{ACTIVE}: {problem}"
    whole = _sum(result, run, "J", "Kepler, active energy of the node")
    return _share(_together(pods), whole, "pods by Kepler, of the node's active energy by Kepler")


def _beside_cgroups(bundle: Bundle, run: Run, pods: dict[str, Figure]) -> Iterator[tuple[str, Figure | str]]:
    """Yield how far Kepler's shares are from those of cgroups, which count dead processes too."""
    try:
        by_cgroups = cgroup.attribution(bundle, run)
    except WindowError as error:
        yield "check.kepler_bias.*", error.reason
        return
    text = "Kepler's share of the pods' energy over the cgroups' share of the pods' CPU-seconds"
    for namespace, cpu in by_cgroups.by_namespace.items():
        name = f"check.kepler_bias.{namespace}"
        if cpu.value <= 0:
            continue
        if namespace not in pods:
            yield name, Figure(0.0, "ratio", f"{text}: Kepler saw no pod", 0.0, 0.0)
            continue
        own, other = _share(pods[namespace], _together(pods), text), _share(cpu, by_cgroups.pods, text)
        yield name, own if isinstance(own, str) else other if isinstance(other, str) else _share(own, other, text)
    seen = _cpu_seen(bundle, run)
    if isinstance(seen, str):
        yield "check.kepler_unseen", seen
    elif seen is not None:
        whole = by_cgroups.kubepods or by_cgroups.pods
        yield (
            "check.kepler_unseen",
            Figure(
                whole.value - seen.value,
                "CPU-seconds",
                "CPU-seconds of pods by cgroups less those that Kepler saw",
                whole.low - seen.high,
                whole.high - seen.low,
            ),
        )


def _cpu_seen(bundle: Bundle, run: Run) -> Figure | str | None:
    """Return the CPU-seconds of containers that Kepler saw, or why they are refused; None where it exports none."""
    for metric, keys in CPU_SEEN.items():
        samples = scraped(bundle, run, metric)
        rows = [
            (number, "/".join(row.get(key, "") for key in keys))
            for number, row in bundle.series.items()
            if row.get("__name__") == metric and row.get("container_id")
        ]
        known = pl.DataFrame(rows, schema={"series_id": pl.Int64, "key": pl.String}, orient="row")
        numbered = known.select("series_id", number=pl.col("key").rank("dense").cast(pl.Int64))
        merged = samples.join(numbered, on="series_id").group_by("number", "ts").agg(pl.col("value").max())
        if merged.is_empty():
            continue
        rule = Rule(max_gap_ms=_gap_ms(bundle), max_rate=cpus(bundle), births=True, tail_ms=_gap_ms(bundle))
        result = integrate(merged.rename({"number": "series_id"}), run.t0_ms, run.t1_ms, rule)
        if problem := next((text for text in result["problem"] if text), ""):
            return f"{metric}: {problem}"
        what = "containers" if keys == ("container_id",) else "processes of containers"
        return _sum(result, run, "CPU-seconds", f"Kepler {version(bundle)}, {what}")
    return None


def _together(parts: dict[str, Figure]) -> Figure:
    value, low, high = (sum(getattr(part, name) for part in parts.values()) for name in ("value", "low", "high"))
    return Figure(value, "J", "Kepler, all pods", low, high)


def _share(part: Figure, whole: Figure, source: str) -> Figure | str:
    if whole.low <= 0:
        return "the whole may be nothing"
    return Figure(part.value / whole.value, "ratio", source, part.low / whole.high, part.high / whole.low)
