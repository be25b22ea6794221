"""A machine that cannot carry the lab gets a reason, a way out and a report, and no success."""

from pathlib import Path

import pytest

from hardwatt import first, machines
from hardwatt import report as report_module
from hardwatt.lab import Lab
from hardwatt.machines import vmfacts
from hardwatt.machines.hostfacts import Problem
from hardwatt.settings import Host, Settings


def lab(tmp_path: Path, **settings: object) -> Lab:
    return Lab(Settings(name="t1", **settings), tmp_path, tmp_path / ".lab")


@pytest.fixture
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem("this machine runs Darwin", "take a Linux machine")
    for place in ((machines, "embedded_problems"), (vmfacts, "problems")):
        monkeypatch.setattr(*place, lambda _: [problem])


@pytest.mark.usefixtures("no_machine")
def test_the_shipped_bundle_is_reported_and_said_to_be_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report_module, "report", lambda bundle: bundle / "results" / "report.html")
    assert first.first(lab(tmp_path), tmp_path / "shipped") == first.NO_LAB != 0
    out = capsys.readouterr()
    assert out.out.splitlines() == [str(tmp_path / "shipped/results/report.html"), "shipped bundle, no lab"]
    assert "no lab here: this machine runs Darwin" in out.err
    assert "lab.toml" in out.err


@pytest.mark.usefixtures("no_machine")
def test_somebody_s_host_is_never_in_the_way(tmp_path: Path) -> None:
    assert first.obstacle(lab(tmp_path)) == "this machine runs Darwin"
    assert first.obstacle(lab(tmp_path, machine="ssh", host=Host(address="192.0.2.1"))) == ""
    assert first.obstacle(lab(tmp_path, host=Host(address="192.0.2.1"))) == ""


def test_problems_have_the_fields_that_are_shown() -> None:
    assert {"text", "remedy"} <= set(Problem.__dataclass_fields__)
