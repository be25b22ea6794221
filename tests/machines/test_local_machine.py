"""What the two kinds of machine on this host share, in both of them."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect import boot
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError
from hardwatt.core.files import read_json, write_json
from hardwatt.core.process import Process
from hardwatt.machines.embedded.machine import EmbeddedMachine
from hardwatt.machines.local import LocalMachine
from hardwatt.machines.vm.machine import VmMachine
from hardwatt.machines.vm.qemu import Ports

GONE = {"pid": 2**22 + 1, "started": 1}
KINDS: dict[str, tuple[type[LocalMachine], dict[str, Any], str]] = {
    "embedded": (EmbeddedMachine, {"ident": "0a1b2c3d", "subnet": "10.77.0.0/24"}, "systemd-nspawn ended; its log: "),
    "vm": (
        VmMachine,
        {"accel": "kvm", "ports": {field.name: 2200 + n for n, field in enumerate(dataclasses.fields(Ports))}},
        "QEMU ended; its log: ",
    ),
}


def made(tmp_path: Path, kind: str, **more: Any) -> LocalMachine:
    machine, state, _ = KINDS[kind]
    lab = Lab(Settings(name="t1"), tmp_path, tmp_path / ".lab")
    end = Endpoint(
        name="t1", kind=kind, address="192.0.2.1", port=22, user="root", key=Path("/k"), known_hosts=Path("/h"),
        controller_address="192.0.2.2", node_address="192.0.2.1",
    )  # fmt: skip
    write_json(lab.dir / "machine.json", {"kind": kind, "endpoint": end.to_dict(), **state, **more})
    return machine(lab)


def mine() -> dict[str, int]:
    process = Process.of(os.getpid())
    assert process is not None
    return process.to_dict()


@pytest.mark.parametrize("kind", KINDS)
def test_a_boot_that_a_killed_start_left_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    machine = made(tmp_path, kind, process=mine(), booting=True)
    states = iter(["starting", "running"])
    monkeypatch.setattr(type(machine), "_boot_state", lambda *_: next(states))
    monkeypatch.setattr(boot, "booted", lambda state: state == "running")
    assert machine._booted() == machine._booted() == machine.endpoint()
    assert list(states) == []
    assert "booting" not in read_json(machine.lab.dir / "machine.json")


@pytest.mark.parametrize("kind", KINDS)
def test_a_machine_that_ends_while_it_boots_is_named_with_its_log(tmp_path: Path, kind: str) -> None:
    machine = made(tmp_path, kind, process=GONE, booting=True)
    with pytest.raises(LabError, match=f"{KINDS[kind][2]}{machine.lab.logs}") as caught:
        machine._booted()
    assert caught.value.hint.startswith(f"look into {machine.lab.logs / 'machine.log'}")
    assert read_json(machine.lab.dir / "machine.json")["booting"], "the next start waits again"


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_is_read_from_the_record_and_the_process(tmp_path: Path, kind: str) -> None:
    for process, state in ((None, "stopped"), (GONE, "dead"), (mine(), "running")):
        status = made(tmp_path, kind, process=process).status()
        assert (status.state, status.kind, status.pid is not None) == (state, kind, state == "running")
        assert status.address
    machine = made(tmp_path, kind)
    (machine.lab.dir / "machine.json").unlink()
    assert machine.status().state == "absent"
    with pytest.raises(LabError, match="has no machine"):
        machine.endpoint()
