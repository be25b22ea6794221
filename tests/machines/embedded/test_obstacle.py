"""What this machine knows of the way to a node before anything is sent, and how a lost link comes back."""

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.core.process import Process
from hardwatt.machines import host_facts
from hardwatt.machines.embedded import network, privileged
from hardwatt.machines.embedded.machine import EmbeddedMachine
from hardwatt.machines.lab_context import LabContext


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="unit", machine="embedded"), tmp_path, tmp_path / ".lab/t")


def put(lab: Lab, process: dict[str, int] | None) -> None:
    """Write the state of a machine with this process."""
    end = Endpoint("t", "embedded", "10.77.4.2", 22, "root", lab.dir / "k", lab.dir / "kh", "10.77.4.1", "10.77.4.2")
    state = {"kind": "embedded", "ident": "0a1b2c3d", "subnet": "10.77.4.0/24", "endpoint": end.to_dict()}
    write_json(lab.dir / "machine.json", {**state, "process": process})


def running() -> dict[str, int]:
    found = Process.of(os.getpid())
    assert found is not None
    return found.to_dict()


@pytest.mark.parametrize(
    ("process", "reason"),
    [(None, "is stopped"), ({**running(), "started": 1}, "does not run: systemd-nspawn ended without us")],
)
def test_a_machine_that_does_not_run_is_named(lab: Lab, process: dict[str, int] | None, reason: str) -> None:
    put(lab, process)
    with pytest.raises(LabError, match=f"the machine of the lab unit {reason}") as caught:
        LabContext.of(lab).reached()
    assert caught.value.hint == "invoke lab.up"


def test_no_machine_is_named(lab: Lab) -> None:
    with pytest.raises(LabError, match="the lab unit has no machine"):
        LabContext.of(lab).reached()


def test_a_machine_that_runs_is_reached_over_its_link_only(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    put(lab, running())
    asked: list[Any] = []

    def fault(ident: str, addresses: network.Addresses) -> str:
        asked.append((ident, addresses.subnet))
        return "the machine's link hw-0a1b2c3d is gone" if len(asked) > 1 else ""

    monkeypatch.setattr(network, "fault", fault)
    assert LabContext.of(lab).reached_endpoint().address == "10.77.4.2"
    with pytest.raises(LabError, match="link hw-0a1b2c3d is gone"):
        LabContext.of(lab).reached()
    assert asked == [("0a1b2c3d", "10.77.4.0/24")] * 2


@pytest.mark.parametrize(("there", "expected"), [(True, ["link"]), (False, ["stop", "boot"])])
def test_a_bare_link_is_configured_and_a_deleted_one_comes_with_a_boot(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, there: bool, expected: list[str]
) -> None:
    put(lab, running())
    done: list[str] = []

    def call(verb: str, *_: Any, **__: Any) -> dict[str, Any]:
        done.append(verb)
        return {"restored": []}

    def boot(self: EmbeddedMachine, *_: Any) -> list[str]:
        done.append("boot")
        return []

    monkeypatch.setattr(network, "exists", lambda _: there)
    monkeypatch.setattr(network, "configured", lambda *_: False)
    monkeypatch.setattr(network, "fault", lambda *_: "the machine's link is gone")
    monkeypatch.setattr(privileged, "call", call)
    monkeypatch.setattr(host_facts, "gather", lambda _: None)
    monkeypatch.setattr(host_facts, "require_embedded", lambda _: None)
    monkeypatch.setattr(EmbeddedMachine, "_archive", lambda *_: Path("archive"))
    monkeypatch.setattr(EmbeddedMachine, "_boot", boot)
    with contextlib.suppress(OSError):
        EmbeddedMachine(lab).start()
    assert done == expected
