"""Steps between two sessions: lab.down and lab.up, a reboot or nothing, under a lock that is never let go."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LockedError, SettingsError
from hardwatt.core.files import write_json
from hardwatt.lifecycle import between
from hardwatt.lifecycle import up as lifecycle
from hardwatt.machines import lab_lock
from hardwatt.machines.lab_context import LabContext
from hardwatt.provision import reboot, runner


class FakeMachine:
    """A machine of a kind, whose every call is written down."""

    def __init__(self, kind: str, calls: list[str]) -> None:
        self.kind, self.calls, self.why = kind, calls, "a test says so"

    def stop(self) -> None:
        self.calls.append("stop")

    def destroy(self) -> None:
        self.calls.append("destroy")

    def endpoint(self) -> Endpoint:
        return Endpoint(
            name="t", kind=self.kind, address="10.0.0.9", port=22, user="root", key=Path("k"), known_hosts=Path("h"),
            controller_address="10.0.0.1", node_address="10.0.0.9",
        )  # fmt: skip


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="t1"), tmp_path, tmp_path / ".lab" / "t1")


def with_machine(monkeypatch: pytest.MonkeyPatch, calls: list[str], kind: str) -> None:
    machine = FakeMachine(kind, calls)
    monkeypatch.setattr(LabContext, "machine", property(lambda self: machine))
    monkeypatch.setattr(LabContext, "endpoint", property(lambda self: machine.endpoint()))
    monkeypatch.setattr(lifecycle, "STEPS", [lifecycle.LabStep("a", "Step A", lambda _: calls.append("up"))])
    monkeypatch.setattr(reboot, "reboot", lambda endpoint: calls.append(f"reboot {endpoint.address}"))


@pytest.mark.parametrize(
    ("machine", "kind", "done", "says"),
    [
        ("embedded", "cluster", ["destroy", "up"], "fresh cluster on a fresh embedded node"),
        ("vm", "cluster", ["destroy", "up"], "fresh virtual machine"),
        ("ssh", "cluster", ["destroy", "up"], "kubeadm reset on the host"),
        ("embedded", "reboot", ["stop", "up"], "its kernel is the host's"),
        ("vm", "reboot", ["stop", "up"], "the virtual machine was rebooted"),
        ("ssh", "reboot", ["reboot 10.0.0.9", "up"], "the host was rebooted"),
        ("embedded", "nothing", [], "the cluster of the session before"),
    ],
)
def test_what_is_done_on_each_machine_and_what_is_said_of_it(
    lab: Lab, calls: list[str], monkeypatch: pytest.MonkeyPatch, machine: str, kind: str, done: list[str], says: str
) -> None:
    with_machine(monkeypatch, calls, machine)
    with lab_lock.locked(lab, "experiment.run"):
        assert says in between.perform(lab, kind)
    assert calls == done


def test_a_host_is_reset_with_its_packages_kept(lab: Lab, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with_machine(monkeypatch, calls, "ssh")
    monkeypatch.setattr(lifecycle, "undone", lambda lab, **options: ["kubeadm reset"])

    def reset(lab: Lab, **options: Any) -> list[str]:
        calls.append(f"reset {options}")
        return ["kubeadm reset"]

    monkeypatch.setattr(runner, "reset", reset)
    between.perform(lab, "cluster")
    assert calls == ["reset {'keep_packages': True}", "destroy", "up"]


def test_lab_down_and_lab_up_go_on_under_the_lock_of_the_series(
    lab: Lab, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_machine(monkeypatch, calls, "embedded")

    def somebody_tries(_: Any) -> None:
        with pytest.raises(LockedError, match="experiment"), lab_lock.locked(dataclasses.replace(lab), "lab.up"):
            pass
        calls.append("refused")

    steps = [lifecycle.LabStep("a", "Step A", somebody_tries)]
    monkeypatch.setattr(lifecycle, "STEPS", steps)
    with lab_lock.locked(lab, "experiment.run"):
        between.perform(lab, "cluster")
    assert calls == ["destroy", "refused"]
    with lab_lock.locked(dataclasses.replace(lab), "lab.up"):
        pass


def test_the_lock_on_a_host_is_taken_again_after_its_reboot(
    tmp_path: Path, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Settings(name="t1", machine="ssh", host={"address": "10.0.0.9", "user": "root"})
    lab = Lab(host, tmp_path, tmp_path / ".lab" / "t1")
    with_machine(monkeypatch, calls, "ssh")

    @contextlib.contextmanager
    def held(endpoint: Endpoint, command: str) -> Iterator[None]:
        calls.append(f"lock by {command}")
        yield
        calls.append("unlock")

    monkeypatch.setattr(lab_lock, "held", held)
    with lab_lock.locked(lab, "experiment.run"):
        between.perform(lab, "reboot")
        calls.append("session")
    lock = "lock by experiment.run"
    assert calls == [lock, "reboot 10.0.0.9", "unlock", lock, "up", "session", "unlock"]


def test_the_default_follows_from_the_machine(lab: Lab) -> None:
    assert between.chosen(lab, "") == "cluster"
    write_json(lab.dir / "machine.json", {"kind": "vm", "accel": "tcg"})
    assert between.chosen(lab, "") == "reboot"
    assert between.chosen(lab, "cluster") == "cluster"
    with pytest.raises(SettingsError, match="--between 'clutser' is unknown; did you mean 'cluster'"):
        between.chosen(lab, "clutser")


def test_what_is_going_to_be_lost_is_said_first(lab: Lab, calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with_machine(monkeypatch, calls, "ssh")
    assert "the cluster on the host is reset (packages stay)" in between.announced(lab, "cluster")
    assert "what was put into it by hand is lost" in between.announced(lab, "cluster")
    assert "the host is rebooted" in between.announced(lab, "reboot")
    assert "nothing is done" in between.announced(lab, "nothing")
    with_machine(monkeypatch, calls, "embedded")
    assert "the machine is removed" in between.announced(lab, "cluster")
