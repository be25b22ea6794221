"""The list of steps: order, selection, what is said, and where it goes on."""

from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.core.errors import LabError
from hardwatt.core.files import read_json
from hardwatt.lifecycle import up as up_module
from hardwatt.lifecycle.up import STEPS, LabState, LabStep, select, up


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="t1"), tmp_path, tmp_path / ".lab" / "t1")


def test_the_order_of_work() -> None:
    assert [step.name for step in STEPS] == [
        "mirror", "machine", "node", "kubeconfig", "restore", "addons", "gitops", "ready",
    ]  # fmt: skip


def test_an_unknown_step_lists_the_right_ones() -> None:
    with pytest.raises(LabError, match=r"unknown step nod; did you mean 'node'\?") as caught:
        select(["nod"])
    assert caught.value.hint == "invoke lab.up --only node"
    with pytest.raises(LabError, match="unknown step qqq; steps: mirror, machine, node") as caught:
        select(["qqq"])
    assert caught.value.hint == "invoke lab.up --help"


def test_steps_run_in_their_own_order_whatever_was_asked(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    steps = [LabStep(name, name, lambda _, n=name: ran.append(n)) for name in "abc"]  # type: ignore[misc] # a default
    monkeypatch.setattr(up_module, "STEPS", steps)
    assert up(lab, ["c", "a"]) == []
    assert ran == ["a", "c"]


def test_no_changes_is_said_when_nothing_changed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(up_module, "STEPS", [LabStep("a", "Step A", lambda _: None)])
    up(lab)
    assert capsys.readouterr().err.splitlines()[-1] == "No changes"

    def change(state: LabState) -> None:
        state.changes.append("package kubelet installed")

    monkeypatch.setattr(up_module, "STEPS", [LabStep("a", "Step A", change)])
    assert up(lab) == ["package kubelet installed"]
    err = capsys.readouterr().err
    assert "No changes" not in err
    assert "package kubelet installed" in err


def test_a_step_that_fails_is_marked_and_ends_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: LabState) -> None:
        raise LabError("no", hint="yes")

    never = LabStep("b", "Step B", lambda _: pytest.fail("ran after a failure"))
    monkeypatch.setattr(up_module, "STEPS", [LabStep("a", "Step A", fail), never])
    with pytest.raises(LabError, match="no"):
        up(lab)
    assert "x Step A: failed" in capsys.readouterr().err
    with lab.lock("free again"):
        assert "Step A" not in read_json(lab.dir / "timings.json", {})


def test_times_are_kept_for_the_next_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_module, "STEPS", [LabStep("a", "Step A", lambda _: None)])
    up(lab)
    assert "Step A" in read_json(lab.dir / "timings.json", {})
