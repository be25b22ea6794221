"""What ``inv experiment.dump`` was asked, made into a dump."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hardwatt import forward
from hardwatt.dump import job
from hardwatt.dump.client import Client
from hardwatt.dump.stream import Options
from hardwatt.errors import SettingsError
from hardwatt.lab import Lab
from hardwatt.progress import say


@dataclass(frozen=True)
class Asked:
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


def dump(lab: Lab, asked: Asked) -> Path:
    """Dump what was asked and return the bundle; raise LabError."""
    wanted = _wanted(asked)
    source = _source(asked.source)
    if asked.parallel < 1:
        raise SettingsError(f"--parallel {asked.parallel}: at least 1")
    if asked.ca_file and not Path(asked.ca_file).exists():
        raise SettingsError(f"there is no file {asked.ca_file}")
    url = asked.url or forward.prometheus_url(lab)
    folder = Path(asked.out) if asked.out else lab.results / wanted.name
    # The token is for the server that was named: the lab's own Prometheus asks for none.
    token = job.read_token(asked.token_file) if asked.url else ""
    options = Options(parallel=asked.parallel, keep_raw=asked.keep_raw)
    with Client(url, token=token, verify=asked.ca_file or True) as client:
        return job.dump(client, wanted, folder, source=source, options=options, say=say)


def _wanted(asked: Asked) -> job.Wanted:
    if asked.run:
        if asked.start or not asked.bundle:
            raise SettingsError(
                "--run needs --bundle, and stands instead of --start", hint="--bundle results/... --run ID"
            )
        return job.Wanted(tuple(asked.match), *job.window_of(Path(asked.bundle), asked.run))
    if not asked.start:
        raise SettingsError("from when on?", hint="--start 1h, or --bundle results/... --run ID")
    return job.Wanted(tuple(asked.match), job.moment(asked.start), job.moment(asked.end))


def _source(text: str) -> Literal["", "rapl", "modelled"]:
    if text in ("", "rapl", "modelled"):
        return text  # type: ignore[return-value]
    raise SettingsError(f"--source {text}: rapl or modelled")
