"""The bundle, the folder of one experiment: its schema, reader and writer. Readable years later.

manifest.json        schema version, tool, plan's hash, seed, source, versions, checks, sha256 of every file
plan.json            written before the first run
runs.parquet|csv     one row a run; deliveries.parquet|csv one row a commit
edges/RUN.start.json RUN.end.json   counters read directly at the edges
raw/RUN/METRIC.json.gz              untouched answers of the API, each behind a line of JSON
samples/metric=M/run=RUN/part.parquet   series_id, ts (ms), value; series.parquet holds the labels
                     long dumps have METRIC.NUMBER.json.gz and part-NUMBER.parquet, in order of time
results/             written by the analysis; the manifest does not cover it
"""

from typing import TYPE_CHECKING

from hardwatt.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from hardwatt.bundle.checkout import provenance
    from hardwatt.bundle.exposition import labels_of, parse_exposition
    from hardwatt.bundle.manifest import Manifest, Plan, plan_sha256
    from hardwatt.bundle.model import Block, Check, Delivery, Edge, Provenance, RawBody, Run, SeriesSamples
    from hardwatt.bundle.reader import Bundle
    from hardwatt.bundle.writer import Writer, validate_plan

__all__ = [
    "Block",
    "Bundle",
    "Check",
    "Delivery",
    "Edge",
    "Manifest",
    "Plan",
    "Provenance",
    "RawBody",
    "Run",
    "SeriesSamples",
    "Writer",
    "labels_of",
    "parse_exposition",
    "plan_sha256",
    "provenance",
    "validate_plan",
]

__getattr__ = lazy_names(
    __name__,
    {
        "checkout": ("provenance",),
        "exposition": ("labels_of", "parse_exposition"),
        "manifest": ("Manifest", "Plan", "plan_sha256"),
        "model": ("Block", "Check", "Delivery", "Edge", "Provenance", "RawBody", "Run", "SeriesSamples"),
        "reader": ("Bundle",),
        "writer": ("Writer", "validate_plan"),
    },
)
