"""``lab.down`` on somebody's host: what will be undone is listed, and only then asked."""

from pathlib import Path
from typing import Any

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.core.errors import LabError
from hardwatt.lifecycle import up
from hardwatt.machines import choice
from hardwatt.machines.base import MachineStatus
from hardwatt.provision import node_data, runner
from tests.deploys.conftest import ROOT


class Machine:
    """Somebody's host, or the lab's own machine."""

    def __init__(self, kind: str = "ssh", state: Any = "running") -> None:
        self.kind, self.state = kind, state

    def status(self) -> MachineStatus:
        return MachineStatus("unit", self.kind, self.state, "192.0.2.10", "no route to host")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    made = Lab(Settings(name="unit"), ROOT, tmp_path / ".lab/unit")
    made.dir.mkdir(parents=True)
    node_data.node_file(made).write_text("{}")
    return made


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def reset(lab: Lab, **how: Any) -> list[str]:
        calls.append(how)
        return ["the cluster and all data in it", "swap on again: /dev/sda2"]

    monkeypatch.setattr(runner, "reset", reset)
    return calls


def test_a_dry_run_lists_what_will_be_undone(
    lab: Lab, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "machine_for", lambda lab: Machine())
    assert up.undone(lab, keep_packages=True)[1] == "swap on again: /dev/sda2"
    assert asked == [{"keep_packages": True, "dry": True}]


def test_a_machine_of_the_labs_own_is_simply_removed(
    lab: Lab, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "machine_for", lambda lab: Machine("embedded"))
    assert up.undone(lab) == []
    node_data.node_file(lab).unlink()
    monkeypatch.setattr(choice, "machine_for", lambda lab: Machine())
    assert up.undone(lab) == [], "nothing was ever done on this host"
    assert asked == []


def test_a_host_that_does_not_answer_is_no_host_that_was_given_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "machine_for", lambda lab: Machine(state="dead"))
    with pytest.raises(LabError, match="nothing on it can be undone: no route to host") as caught:
        up.undone(lab)
    assert "by hand" in caught.value.hint
