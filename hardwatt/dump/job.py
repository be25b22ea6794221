"""``invoke experiment.dump``: any selectors over any time, from any Prometheus, into a bundle of their own."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from hardwatt.bundle.checkout import provenance
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import LabError, RefusedError, SettingsError
from hardwatt.dump.client import Client
from hardwatt.dump.errors import IncompleteError
from hardwatt.dump.resume_log import ResumeLog
from hardwatt.dump.selectors import DEFAULT, selector, with_dies
from hardwatt.dump.stream import Options, Progress, Stream

RUN_ID = "dump"
TOKEN_VARIABLE = "HARDWATT_PROMETHEUS_TOKEN"  # noqa: S105 - the variable's name
INFO = "hardwatt_meter_info"
TELL_SECONDS = 2.0
LATEST_MS = 10**13
"""In the year 2286. A larger number of milliseconds was given in milliseconds or microseconds as if in seconds."""
_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_AGO = re.compile(r"(now|(?P<count>\d+(?:\.\d+)?)(?P<unit>[smhd]) ?(?:ago)?)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class DumpSpec:
    """The content of a dump: selectors (all that the toolkit itself uses, if none), from ``start_ms`` to ``end_ms``."""

    match: tuple[str, ...]
    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        if self.end_ms <= self.start_ms:
            raise SettingsError("the dump ends before it starts", hint="--start 1h --end now")

    @property
    def name(self) -> str:
        """The name of the folder: the same for the same wish, so that a killed dump is found again."""
        stamp = datetime.fromtimestamp(self.start_ms / 1000, UTC).strftime("%Y%m%d-%H%M%S")
        text = f"{self.match} {self.start_ms} {self.end_ms}"
        return f"dump-{stamp}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def moment(text: str, now: float | None = None) -> int:
    """Return milliseconds since 1970 for ``2026-11-24T10:00:00Z``, seconds since 1970, ``90m`` (ago) or ``now``.

    Raise SettingsError for anything else; a date without its zone is refused, because nobody knows whose it is.
    """
    hint = "for example 2026-11-24T10:00:00Z, 1790000000, 90m (ago) or now"
    now = time.time() if now is None else now
    if ago := _AGO.fullmatch(text.strip()):
        away = float(ago["count"]) * _UNITS[ago["unit"]] if ago["count"] else 0.0
        return round((now - away) * 1000)
    try:
        seconds = float(text)
    except ValueError:
        pass
    else:
        if not 0 <= seconds * 1000 <= LATEST_MS:  # what is not a number is not between them either
            raise SettingsError(f"{text!r} is no seconds since 1970 (milliseconds?)", hint=hint)
        return round(seconds * 1000)
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(f"{text!r} is no moment", hint=hint) from None
    if date.tzinfo is None:
        raise SettingsError(f"{text!r} does not say its time zone", hint=hint)
    return round(date.timestamp() * 1000)


def read_token(file: str = "") -> str:
    """Return the bearer token of a file, or of the environment; empty where there is none."""
    if not file:
        return os.environ.get(TOKEN_VARIABLE, "").strip()
    try:
        token = Path(file).expanduser().read_text().strip()
    except OSError as error:
        raise SettingsError(f"the token's file {file} cannot be read: {error.strerror}") from None
    if not token or "\n" in token:
        raise SettingsError(f"{file} does not hold one token")
    return token


def window_of(bundle: Path, run_id: str) -> tuple[int, int]:
    """Return start and end of a run of a bundle (ms); raise SettingsError that names the runs where it has it not."""
    runs = {run.run_id: run for run in Bundle.open(bundle).runs}
    if run_id not in runs:
        raise SettingsError(f"{bundle} has no run {run_id!r}", hint=f"one of {', '.join(sorted(runs))}")
    return runs[run_id].t0_ms, runs[run_id].t1_ms


def dump(
    client: Client,
    wanted: DumpSpec,
    folder: Path,
    *,
    source: Literal["", "rapl", "modelled"] = "",
    options: Options | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Path:
    """Dump what is wanted into the bundle ``folder`` and return it; the same call again goes on with a killed one.

    Raise DumpError's leaves, RefusedError where the folder holds something else.
    """
    selectors = expanded(client, wanted)
    if not selectors:
        raise IncompleteError("the server has no such series then", hint="check --match, --start and --end")
    options = options or Options()
    say(f"to go on with this dump later: --start {wanted.start_ms / 1000} --end {wanted.end_ms / 1000}")
    writer = _writer(client, wanted, folder, source)
    ledger = ResumeLog(folder / f".{RUN_ID}.jsonl", {"match": list(wanted.match), "start": wanted.start_ms,
                                                  "end": wanted.end_ms, "raw": options.keep_raw})  # fmt: skip
    if ledger.done or ledger.rejected:
        bad = f", {ledger.rejected} were damaged and are fetched again" if ledger.rejected else ""
        say(f"going on: {len(ledger.done)} stretches are there{bad}")
    progress = Stream(client, writer, ledger, RUN_ID, options, _Teller(say)).run(
        selectors, wanted.start_ms, wanted.end_ms
    )
    say(f"{progress.text}, {progress.requests} requests")
    run = Run(RUN_ID, 0, 0, RUN_ID, 0, "done", "", wanted.start_ms, wanted.end_ms)
    writer.add_run(run)
    writer.finish()
    return folder


def expanded(client: Client, wanted: DumpSpec) -> dict[str, str]:
    """Return metric -> selector for all that is wanted: one selector may hold many metrics, each has its own file.

    Raise SettingsError where two selectors want the same metric: its parts would share samples.
    """
    if not wanted.match:
        known = with_dies(DEFAULT, lambda text: client.names(text, wanted.start_ms, wanted.end_ms))
        return {metric: selector(metric, matchers) for metric, matchers in known.items()}
    selectors: dict[str, str] = {}
    for text in wanted.match:
        name, _, rest = text.strip().partition("{")
        if name and not _PLAIN.fullmatch(name):
            raise SettingsError(f"{text!r} is no series selector", hint="--match 'up' or --match '{job=\"meter\"}'")
        names = [name] if name else client.names(text, wanted.start_ms, wanted.end_ms)
        for metric in names:
            if metric in selectors:
                raise SettingsError(f"{metric} is in two selectors", hint="one --match for each metric")
            selectors[metric] = text.strip() if name else f'{{__name__="{metric}",{rest}'
    return selectors


def _writer(client: Client, wanted: DumpSpec, folder: Path, source: Literal["", "rapl", "modelled"]) -> Writer:
    plan = {
        "study": "dump",
        "seed": 0,
        "arms": [RUN_ID],
        "window_seconds": (wanted.end_ms - wanted.start_ms) / 1000,
        "primary": {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "none: one window"},
        "runs": [{"run_id": RUN_ID, "block": 0, "position": 0, "arm": RUN_ID}],
        "match": list(wanted.match),
        "start_ms": wanted.start_ms,
    }
    if (folder / "manifest.json").exists():
        raise RefusedError(f"{folder} is finished", hint="it is complete; for another one give another --out")
    if (folder / "plan.json").exists():
        return Writer.open(folder, plan)
    facts = {"server": _version(client), "kind": "dump"}
    known = source or _source(client, wanted)
    return Writer.create(folder, plan, provenance(seed=0, source=known, host=facts))


def _source(client: Client, wanted: DumpSpec) -> Literal["rapl", "modelled"]:
    """Return what the meter says of its source; raise SettingsError where there was none to say it."""
    length = wanted.end_ms - wanted.start_ms
    rows = client.query(f"last_over_time({INFO}[{length}ms])", wanted.end_ms)
    named = {row["metric"].get("source") for row in rows}
    if len(named) == 1 and (kind := named.pop()) in ("rapl", "modelled"):
        return "rapl" if kind == "rapl" else "modelled"
    raise SettingsError(
        "nothing in this Prometheus says where its joules come from",
        hint="--source rapl (a processor's counter) or --source modelled (computed from CPU time)",
    )


def _version(client: Client) -> str:
    try:
        rows = client.query("prometheus_build_info")
    except LabError:
        return "unknown"
    versions: Sequence[Mapping[str, str]] = [row["metric"] for row in rows]
    return next((f"Prometheus {build['version']}" for build in versions if "version" in build), "unknown")


class _Teller:
    """Tells the progress every two seconds at most."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._told = say, time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            self._say(progress.text)
