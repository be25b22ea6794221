"""experiment.* on bundles: dump, report, analyse, compare, replay, import."""

from pathlib import Path

from invoke import Exit

from hardwatt.cli.console import SHIPPED
from hardwatt.cli.tasks import command, report_path
from hardwatt.config.lab import Lab


@command(help={"bundle": "a bundle's folder, or the word shipped: the one that comes with the toolkit"})
def experiment_report(lab: Lab, bundle: str) -> None:
    """Analyse a bundle and write its report; needs no lab, no root, no cluster."""
    print(report_path(SHIPPED if bundle == "shipped" else Path(bundle)))


@command(help={"bundle": "a bundle of the study talk-at-rest"})
def experiment_talk(lab: Lab, bundle: str) -> None:
    """Print what Flux's controllers cost at rest here, beside the table of the talk of 2022."""
    from hardwatt.analysis.talk_comparison import beside_the_talk

    print(beside_the_talk(Path(bundle)))


@command(
    iterable=["match"],
    help={
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
)
def experiment_dump(
    lab: Lab,
    match: list[str] | None = None,
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
        match or [], start, end, run, bundle, url, token_file, ca_file, source, out, parallel, not no_raw
    )
    print(request.dump(lab, asked))


@command(
    help={
        "bundle": "a bundle's folder",
        "outcome": "node_cpu_seconds or node_joules, instead of the plan's",
        "confidence": "level of the interval, instead of the plan's",
        "margin": "margin of the test of equivalence, instead of the plan's",
        "without_flagged": "leave out pairs with a flagged window",
        "without_repeated": "leave out pairs that were repeated",
    }
)
def experiment_analyse(
    lab: Lab,
    bundle: str,
    outcome: str = "",
    confidence: str = "",
    margin: str = "",
    without_flagged: bool = False,
    without_repeated: bool = False,
) -> None:
    """Analyse a bundle, other than planned where options ask for it; its report then says so first."""
    from hardwatt.cli.console import main

    options = {"--outcome": outcome, "--confidence": confidence, "--margin": margin}
    argv = ["analyse", bundle, *(f"{name}={value}" for name, value in options.items() if value)]
    flags = {"--without-flagged": without_flagged, "--without-repeated": without_repeated}
    if code := main([*argv, *(name for name, wanted in flags.items() if wanted)]):
        raise Exit(code=code)


@command(
    help={"first": "a bundle's folder", "second": "another one", "also": "a further one (may be given several times)"},
    iterable=["also"],
)
def experiment_compare(lab: Lab, first: str, second: str, also: list[str] | None = None) -> None:
    """Put bundles side by side: machines, versions, repeats; prints the path of the page."""
    from hardwatt.report.render import comparison

    print(comparison([first, second, *(also or [])], output=Path("results") / "compare"))


@command(positional=["bundle"], help={"bundle": "a bundle's folder", "port": "on localhost; a free one by default"})
def experiment_replay(lab: Lab, bundle: str, port: int = 0) -> None:
    """Load a bundle's samples into a throw-away Prometheus, so that PromQL works on them; Ctrl-C ends it."""
    from hardwatt.dump import replay

    replay.serve(lab, Path(bundle), port)


@command(
    positional=["file"],
    help={
        "file": "Prometheus' range JSON, or CSV with timestamp and joules or watts",
        "source": "rapl (a processor's counter, a plug) or modelled (computed from CPU time)",
        "out": "folder of the new bundle",
        "runs": "CSV with run_id,arm,block,position,start,end; without it, one window over all",
        "unit": "joules, millijoules or watts: the JSON's series are the node's energy",
        "metric": "the one metric of the JSON",
        "interval": "seconds between two samples; their median by default",
        "range_joules": "where the counter wraps",
    },
)
def experiment_import(
    lab: Lab, file: str, source: str, out: str = "", runs: str = "", unit: str = "", metric: str = "",
    interval: float = 0.0, range_joules: float = 0.0,
) -> None:  # fmt: skip
    """Make a bundle of data that was measured elsewhere, and say what the instruments make of it."""
    from hardwatt.dump import request

    words = request.ImportRequest(file, source, out, runs, unit, metric, interval, range_joules)
    print(request.import_(lab, words))
