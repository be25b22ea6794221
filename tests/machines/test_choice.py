"""The choice of a machine."""

import dataclasses
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings, parse
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.files import write_json
from hardwatt.core.problem import error
from hardwatt.machines import choice, host_facts
from hardwatt.machines.vm import facts
from tests.machines.constructed_hosts import BARE_V1


def lab(tmp_path: Path, name: str = "t1", **more: object) -> Lab:
    settings = parse(Settings, {"name": name, **more}, "test")
    return Lab(settings, tmp_path, tmp_path / ".lab" / name)


def test_auto_takes_the_host_of_the_settings_and_says_why(tmp_path: Path) -> None:
    machine = choice.machine_for(lab(tmp_path, host={"address": "192.0.2.9"}))
    assert machine.kind == "ssh"
    assert "192.0.2.9" in machine.why


def test_auto_takes_the_embedded_node_where_it_can_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_facts, "gather", lambda _: BARE_V1)
    monkeypatch.setattr(facts, "problems", lambda _: [error("tools", "no qemu", "make setup")])
    assert choice.machine_for(lab(tmp_path)).kind == "embedded"
    monkeypatch.setattr(host_facts, "gather", lambda _: dataclasses.replace(BARE_V1, memory=0, is_root=False))
    with pytest.raises(LabError, match=r"root.*memory") as caught:
        choice.machine_for(lab(tmp_path))
    assert "lab.toml" in caught.value.hint


def test_a_machine_of_another_kind_is_not_touched(tmp_path: Path) -> None:
    mine = lab(tmp_path, machine="embedded")
    write_json(mine.dir / "machine.json", {"kind": "vm"})
    with pytest.raises(RefusedError, match="another kind"):
        choice.machine_for(mine).stop()
