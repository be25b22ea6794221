"""A machine that cannot carry the lab gets a reason, a way out and a report, and no success."""

import dataclasses
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Host, Settings
from hardwatt.core import process
from hardwatt.core.problem import error
from hardwatt.core.progress import say
from hardwatt.experiment import operations
from hardwatt.lifecycle import quickstart
from hardwatt.lifecycle import up as up_module
from hardwatt.machines import choice
from hardwatt.machines.vm import facts
from hardwatt.meter import sources
from hardwatt.report import render


def lab(tmp_path: Path, **settings: object) -> Lab:
    return Lab(Settings(name="t1", **settings), tmp_path, tmp_path / ".lab")


@pytest.fixture
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = error("os", "this machine runs Darwin", "take a Linux machine")
    for place in ((choice, "embedded_problems"), (facts, "problems")):
        monkeypatch.setattr(*place, lambda _: [problem])


@pytest.mark.usefixtures("no_machine")
def test_the_shipped_bundle_is_reported_and_said_to_be_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(render, "report", lambda bundle: bundle / "results" / "report.html")
    assert quickstart.quickstart(lab(tmp_path), tmp_path / "shipped") == quickstart.NO_LAB != 0
    out = capsys.readouterr()
    assert out.out.splitlines() == [str(tmp_path / "shipped/results/report.html"), "shipped bundle, no lab"]
    assert "no lab here: this machine runs Darwin" in out.err
    assert "lab.toml" in out.err


@pytest.mark.usefixtures("no_machine")
def test_somebody_s_host_is_never_in_the_way(tmp_path: Path) -> None:
    assert quickstart.obstacle(lab(tmp_path)) == "this machine runs Darwin"
    assert quickstart.obstacle(lab(tmp_path, machine="ssh", host=Host(address="192.0.2.1"))) == ""
    assert quickstart.obstacle(lab(tmp_path, host=Host(address="192.0.2.1"))) == ""


LINE = "this machine's own RAPL counts (intel-rapl:0)"


@dataclasses.dataclass
class Counter:
    """A zone of this machine that advances until it is stopped."""

    zone: Path
    ended: threading.Event = dataclasses.field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._count)
        self._thread.start()

    def _count(self) -> None:
        for value in itertools.count(5, 100_000):
            (self.zone / "new").write_text(f"{value}\n")
            (self.zone / "new").replace(self.zone / "energy_uj")
            if self.ended.wait(0.005):
                return

    def stop(self) -> None:
        self.ended.set()
        self._thread.join()


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    """A tree of this machine's counters, of which one advances."""
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in {"name": "package-0", "max_energy_range_uj": "262143328850", "energy_uj": "5"}.items():
        (zone / name).write_text(f"{text}\n")
    monkeypatch.setattr(sources, "roots_here", lambda: (str(tmp_path / "sys"),))
    monkeypatch.setattr(sources, "SECONDS", 0.5)
    made = Counter(zone)
    yield made
    made.stop()


@pytest.mark.usefixtures("counter")
@pytest.mark.parametrize("as_root", [True, False])
def test_a_counter_of_this_machine_is_told_at_the_start_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_root: bool
) -> None:
    if not as_root:
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        monkeypatch.setattr(process, "root", lambda argv: ["env", *argv])
    monkeypatch.setattr(choice, "embedded_problems", lambda _: [])
    monkeypatch.setattr(render, "report", lambda bundle: bundle / "report.html")
    monkeypatch.setattr(up_module, "up", lambda _: say("lab.up"))
    monkeypatch.setattr(operations, "run", lambda *_: tmp_path)
    assert quickstart.quickstart(lab(tmp_path, machine="embedded"), tmp_path) == 0
    out = capsys.readouterr()
    start, middle, end = out.err.splitlines()
    assert start == end
    assert start.startswith(f'{LINE}, but this lab\'s joules are modelled from CPU-seconds; with source = "rapl" in')
    assert middle == "lab.up"
    assert out.out.splitlines() == [str(tmp_path / "report.html")]


@pytest.mark.usefixtures("counter")
def test_a_virtual_machine_has_no_counter_of_its_own(tmp_path: Path) -> None:
    line = quickstart.own_counter(lab(tmp_path, machine="vm"))
    assert line.startswith(LINE)
    assert 'machine = "embedded", and source = "rapl" in [meter]' in line


def test_nothing_is_told_where_the_counter_is_used_or_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counter: Counter
) -> None:
    powercap = counter.zone
    assert quickstart.own_counter(lab(tmp_path, machine="embedded"))
    assert not quickstart.own_counter(lab(tmp_path, machine="embedded", meter={"source": "rapl"}))
    assert not quickstart.own_counter(lab(tmp_path, machine="ssh", host=Host(address="192.0.2.1")))
    (powercap / "name").write_text("psys\n")
    assert not quickstart.own_counter(lab(tmp_path, machine="embedded"))
    (powercap / "name").write_text("package-0\n")
    counter.stop()
    assert not quickstart.own_counter(lab(tmp_path, machine="embedded")), "it stands still"
    (powercap / "energy_uj").unlink()
    assert not quickstart.own_counter(lab(tmp_path, machine="embedded")), "it cannot be read"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(process, "root", lambda argv: ["false", *argv])
    assert not quickstart.own_counter(lab(tmp_path, machine="embedded")), "nobody may read it"
