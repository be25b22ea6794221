"""The requests of ``invoke experiment.dump`` and ``experiment.import``, made into a bundle."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hardwatt.bundle.reader import Bundle
from hardwatt.cluster import port_forward
from hardwatt.config.lab import Lab
from hardwatt.core.errors import RefusedError, SettingsError
from hardwatt.core.progress import say
from hardwatt.dump import imports, job
from hardwatt.dump.client import Client
from hardwatt.dump.stream import Options
from hardwatt.instruments.crosschecks import judged
from hardwatt.instruments.outcomes import measure
from hardwatt.machines import reach_host


@dataclass(frozen=True)
class DumpRequest:
    """The words of the command line; empty: not given."""

    match: list[str]
    start: str
    end: str
    run: str
    bundle: str
    url: str
    token_file: str
    ca_file: str
    source: str
    out: str
    parallel: int
    keep_raw: bool


def dump(lab: Lab, asked: DumpRequest) -> Path:
    """Dump what was asked and return the bundle; raise LabError."""
    wanted = _wanted(asked)
    source = _source(asked.source)
    if asked.parallel < 1:
        raise SettingsError(f"--parallel {asked.parallel}: at least 1")
    if asked.ca_file and not Path(asked.ca_file).exists():
        raise SettingsError(f"there is no file {asked.ca_file}")
    if not asked.url:
        reach_host.require(lab)
    url = asked.url or port_forward.prometheus_url(lab)
    folder = Path(asked.out) if asked.out else lab.results / wanted.name
    # The token is for the server that was named: the lab's own Prometheus asks for none.
    token = job.read_token(asked.token_file) if asked.url else ""
    options = Options(parallel=asked.parallel, keep_raw=asked.keep_raw)
    with Client(url, token=token, verify=asked.ca_file or True) as client:
        made = job.dump(client, wanted, folder, source=source, options=options, say=say)
    if not asked.match:
        _say_crosschecks(Bundle.open(made))
    return made


def _say_crosschecks(bundle: Bundle) -> None:
    """Say how the instruments agree in the window that was dumped with all that they need."""
    for check in judged(bundle, measure(bundle)):
        say(check.sentence)


def _wanted(asked: DumpRequest) -> job.DumpSpec:
    if asked.run:
        if asked.start or not asked.bundle:
            raise SettingsError(
                "--run needs --bundle, and stands instead of --start", hint="--bundle results/... --run ID"
            )
        return job.DumpSpec(tuple(asked.match), *job.window_of(Path(asked.bundle), asked.run))
    if not asked.start:
        raise SettingsError("from when on?", hint="--start 1h, or --bundle results/... --run ID")
    return job.DumpSpec(tuple(asked.match), job.moment(asked.start), job.moment(asked.end))


def _source(text: str) -> Literal["", "rapl", "modelled"]:
    if text in ("", "rapl", "modelled"):
        return text  # type: ignore[return-value]
    raise SettingsError(f"--source {text}: rapl or modelled")


@dataclass(frozen=True)
class ImportRequest:
    """The words of ``experiment.import``; empty or zero: not given."""

    file: str
    source: str
    out: str
    runs: str
    unit: str
    metric: str
    interval: float
    range_joules: float
    host: str = ""


def import_(lab: Lab, words: ImportRequest) -> Path:
    """Import what was asked, say every figure and refusal, and return the bundle; raise LabError."""
    source = _source(words.source)
    if not source:
        raise SettingsError("--source rapl or modelled: where do its joules come from?")
    if words.unit not in ("", *imports.UNITS):
        raise SettingsError(f"--unit {words.unit}: one of {', '.join(imports.UNITS)}")
    if words.interval < 0 or words.range_joules < 0:
        raise SettingsError("--interval and --range-joules are not below zero")
    options = imports.Options(source, words.unit, words.metric, words.interval, words.range_joules, words.host)  # type: ignore[arg-type]
    file = Path(words.file)
    series = imports.read(file, options)
    windows = imports.read_windows(Path(words.runs)) if words.runs else [imports.whole(series)]
    folder = Path(words.out) if words.out else lab.results / f"import-{file.stem}"
    made = imports.bundle(file, series, windows, options, folder)
    measured = measure(Bundle.open(made))
    if all(outcome.name == "deliveries_ready" for outcome in measured.outcomes):
        shutil.rmtree(made)
        reasons = {refusal.reason: None for refusal in measured.refusals if refusal.name == "node_joules"}
        raise RefusedError(
            f"{file} carries no figure: {'; '.join(reasons) or 'it holds nothing that is measured'}",
            hint="--runs FILE gives windows in which it counts"
            if words.unit
            else "--unit joules or watts says that its series are the node's energy",
        )
    for outcome in measured.outcomes:
        if outcome.name != "deliveries_ready":
            figure = outcome.figure
            bounds = f"{figure.low:.6g} to {figure.high:.6g}"
            say(f"{outcome.run_id} {outcome.name}: {figure.value:.6g} {figure.unit} ({bounds}); {figure.source}")
    for refusal in measured.refusals:
        if refusal.name == "node_joules":
            say(f"{refusal.run_id} {refusal.name} is refused: {refusal.reason}")
    return made
