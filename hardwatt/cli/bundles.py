"""experiment.* that make a bundle or serve one: dump, replay, import. Those that read one: ``bundle_commands.py``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hardwatt.cli.registry import LAB, command

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab

_SOURCES = ("rapl", "modelled")


@command(
    "experiment.dump",
    needs=LAB,
    arguments={
        "match": "a series selector (may be given several times); without it, all that the instruments use",
        "start": "2026-11-24T10:00:00Z, seconds since 1970, or 90m (ago)",
        "end": "the same; now",
        "run": "the window of this run, instead of --start and --end",
        "bundle": "the bundle that has the run",
        "url": "another Prometheus than the lab's",
        "token_file": "file with a bearer token (or HARDWATT_PROMETHEUS_TOKEN)",
        "ca_file": "the authority that signed the server's certificate",
        "source": "rapl or modelled, where the meter does not say",
        "out": "folder of the new bundle",
        "parallel": "questions at once",
        "no_raw": "keep samples only, not the untouched answers",
    },
    values={"source": _SOURCES},
)
def experiment_dump(
    lab: Lab,
    *,
    match: tuple[str, ...] = (),
    start: str = "",
    end: str = "now",
    run: str = "",
    bundle: str = "",
    url: str = "",
    token_file: str = "",
    ca_file: str = "",
    source: str = "",
    out: str = "",
    parallel: int = 3,
    no_raw: bool = False,
) -> None:
    """Dump raw samples from Prometheus into a bundle; the same command goes on after an interruption."""
    from hardwatt.dump import request

    asked = request.DumpRequest(
        list(match), start, end, run, bundle, url, token_file, ca_file, source, out, parallel, not no_raw
    )
    print(request.dump(lab, asked))


@command(
    "experiment.replay",
    needs=LAB,
    arguments={"bundle": "a bundle's folder", "port": "on localhost; a free one by default"},
)
def experiment_replay(lab: Lab, bundle: Path, *, port: int = 0) -> None:
    """Load a bundle's samples into a throw-away Prometheus, so that PromQL works on them; Ctrl-C ends it."""
    from hardwatt.dump import replay

    replay.serve(lab, bundle, port)


@command(
    "experiment.import",
    needs=LAB,
    arguments={
        "file": "Prometheus' range JSON, or CSV with timestamp and joules or watts",
        "source": "rapl (a processor's counter, a plug) or modelled (computed from CPU time)",
        "out": "folder of the new bundle",
        "runs": "CSV with run_id,arm,block,position,start,end; without it, one window over all",
        "unit": "joules, millijoules, microjoules, kilowatt-hours or watts: the JSON's series are the node's energy",
        "metric": "the one metric of the JSON",
        "interval": "seconds between two samples; their median by default",
        "range_joules": "where the counter wraps",
        "host": "the one host of a JSON that holds several",
    },
    values={"source": _SOURCES, "unit": ("joules", "millijoules", "microjoules", "kilowatt-hours", "watts")},
)
def experiment_import(
    lab: Lab, file: str, *, source: str = "", out: str = "", runs: str = "", unit: str = "", metric: str = "",
    interval: float = 0.0, range_joules: float = 0.0, host: str = "",
) -> None:  # fmt: skip
    """Make a bundle of data that was measured elsewhere, and say what the instruments make of it."""
    from hardwatt.dump import request

    words = request.ImportRequest(file, source, out, runs, unit, metric, interval, range_joules, host)
    print(request.import_(lab, words))
