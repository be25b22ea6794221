"""``invoke experiment.replay``: a bundle's samples in a Prometheus of their own on loopback, for PromQL on old data."""

import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import Lab
from hardwatt.core import background, process
from hardwatt.core.background import Record
from hardwatt.core.errors import LabError, VerifyError
from hardwatt.core.files import write_atomic
from hardwatt.core.ports import answers, free_port
from hardwatt.core.process import Process
from hardwatt.core.wait import wait
from hardwatt.dump import openmetrics
from hardwatt.mirror.index import Index

START_TIMEOUT = 60.0
_STATE = "replay.json"


@dataclass(frozen=True)
class Programs:
    """The programs that a replay runs."""

    prometheus: Path
    promtool: Path

    @classmethod
    def find(cls, lab: Lab) -> "Programs":
        """Return the programs of the mirror, of what was built here, or of the PATH.

        Raise LabError where one of them is nowhere.
        """
        return cls(_program(lab, "prometheus"), _program(lab, "promtool"))


def _program(lab: Lab, name: str) -> Path:
    index = Index.read(lab.cache / "mirror")
    if index.find("tool", name) and index.tool(name).exists():
        return index.tool(name)
    built = sorted((lab.cache / "built").glob(f"prometheus-*/bin/{name}"), key=lambda path: path.stat().st_mtime)
    if built:
        return built[-1]
    if installed := shutil.which(name):
        return Path(installed)
    raise LabError(f"the program {name} is not there", hint="invoke mirror.fill, or install Prometheus' own release")


@contextlib.contextmanager
def replayed(bundle: Bundle, programs: Programs, place: Path, port: int = 0) -> Iterator[str]:
    """Yield the URL of a Prometheus that holds the bundle's samples; it and its data are gone afterwards.

    ``place`` is a folder of replays; what killed ones left there is cleaned up first.
    """
    clean(place)
    folder = place / f"{os.getpid()}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    owner = Process.of(os.getpid())
    state = {"owner": owner.to_dict() if owner else None}
    record = Record(folder / _STATE)
    record.write(state)
    process: Process | None = None
    try:
        make_blocks(bundle, programs.promtool, folder)
        port = port or free_port()
        process = start(programs.prometheus, folder, port, lambda started: record.write(state, started))
        yield f"http://127.0.0.1:{port}"
    finally:
        if process:
            process.stop()
        shutil.rmtree(folder)


def clean(place: Path) -> None:
    """Stop and remove replays whose command was killed."""
    for folder in place.glob("*") if place.exists() else []:
        record = Record(folder / _STATE)
        owner = record.read().get("owner")
        if owner and Process.from_dict(owner).alive():
            continue
        record.stop()
        shutil.rmtree(folder)


def make_blocks(bundle: Bundle, promtool: Path, folder: Path) -> None:
    """Write the bundle's samples as blocks into ``folder``/data; raise VerifyError where it holds none."""
    data = folder / "data"
    data.mkdir()
    count = 0
    for file in openmetrics.write_files(bundle, folder):
        process.run([promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", file, data])
        file.unlink()
        count += 1
    if not count:
        raise VerifyError(f"the bundle {bundle.path} holds no samples")


def start(prometheus: Path, folder: Path, port: int, started: Callable[[Process], None] | None = None) -> Process:
    """Start a Prometheus that scrapes nothing on ``folder``/data, on loopback, and return when it answers."""
    return background.start(
        command(prometheus, folder, port),
        lambda: answers(f"http://127.0.0.1:{port}/-/ready"),
        what="the Prometheus of the replay",
        log=folder / "prometheus.log",
        timeout=START_TIMEOUT,
        started=started,
    )


def command(prometheus: Path, folder: Path, port: int) -> list[str]:
    """Return the command of a Prometheus that scrapes nothing, on loopback; write its configuration."""
    write_atomic(folder / "prometheus.yml", "scrape_configs: []\n")
    return [
        str(prometheus), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip


def hint(bundle: Bundle, url: str) -> list[str]:
    """Return what a person needs to look at a replay: its address, and when the data is."""
    runs = bundle.runs
    if not runs:
        return [url]
    begin, end = min(run.t0_ms for run in runs), max(run.t1_ms for run in runs)
    moment = datetime.fromtimestamp(end / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    span = max(1, round((end - begin) / 60_000))
    metric = next((name for name in bundle.metrics if name.startswith("hardwatt_node")), bundle.metrics[0])
    return [
        url,
        f"{url}/graph?g0.expr={metric}&g0.tab=0&g0.end_input={moment.replace(' ', '%20')}&g0.range_input={span}m",
    ]


def serve(lab: Lab, path: Path, port: int = 0, show: Callable[[str], None] = print) -> None:
    """Replay a bundle until Ctrl-C (or SIGTERM); raise LabError where Prometheus ends by itself."""
    bundle = Bundle.open(path)
    bundle.verify()

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with replayed(bundle, Programs.find(lab), lab.dir / "replay", port) as url:
            for line in hint(bundle, url):
                show(line)
            show("Ctrl-C ends it")
            wait(
                lambda: answers(f"{url}/-/ready"), lambda ready: not ready, what="end", timeout=float("inf"), delay=2.0
            )
            raise LabError("the replay's Prometheus ended by itself", hint="the same command again")
    except KeyboardInterrupt:
        show("ended; nothing is left of it")
    finally:
        signal.signal(signal.SIGTERM, before)
