"""Samples of a bundle as OpenMetrics text, which promtool makes blocks of."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hardwatt.bundle.frames import pl
from hardwatt.bundle.reader import Bundle

_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def series_text(labels: Mapping[str, str]) -> str:
    """Return ``name{label="value",...}``, escaped; label names beyond ASCII are quoted, as Prometheus 3 reads them.

    An empty label is no label, as in Prometheus.
    """
    pairs = (f"{_name(key)}={_quoted(value)}" for key, value in sorted(labels.items()) if key != "__name__" and value)
    return f"{labels['__name__']}{{{','.join(pairs)}}}"


def _name(label: str) -> str:
    return label if _PLAIN.fullmatch(label) else _quoted(label)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def metric_text(bundle: Bundle, metric: str) -> str:
    """Return every sample of a metric, one a line, by series and time; what runs share by their margins is there once.

    Times are exact to the millisecond, values are written so that they are read back as they were.
    """
    frame = bundle.samples(metric).select("series_id", "ts", "value").collect().unique().sort("series_id", "ts")
    if frame.is_empty():
        return ""
    ids = frame["series_id"].unique().to_list()
    names = pl.DataFrame(
        {"series_id": ids, "name": [series_text(bundle.series[number]) for number in ids]},
        schema={"series_id": pl.UInt32, "name": pl.String},
    )
    plain = pl.col("value").cast(pl.String)
    value = plain.replace({"inf": "+Inf", "-inf": "-Inf"})
    ms = (pl.col("ts") % 1000).cast(pl.String).str.zfill(3)
    line = pl.concat_str("name", pl.lit(" "), value, pl.lit(" "), pl.col("ts") // 1000, pl.lit("."), ms)
    lines = frame.join(names, on="series_id", maintain_order="left").select(line.alias("line"))
    return "\n".join(lines["line"]) + "\n"


def write_files(bundle: Bundle, folder: Path, *, most_bytes: int = 256_000_000) -> Iterator[Path]:
    """Write the bundle's samples into one file after the other, each of about ``most_bytes``, and yield each.

    A file may be removed before the next one is asked for: no more than one has to be on disk.
    """
    waiting: list[str] = []
    for number, metric in enumerate(bundle.metrics):
        waiting.append(metric_text(bundle, metric))
        if sum(map(len, waiting)) >= most_bytes or number == len(bundle.metrics) - 1:
            text, waiting = "".join(waiting), []
            if text:
                path = folder / f"samples-{number:04d}.om"
                path.write_text(text + "# EOF\n", encoding="utf-8")
                yield path
