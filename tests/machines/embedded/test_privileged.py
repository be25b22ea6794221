"""The part of the embedded machine that needs root: through sudo, and after a killed start."""

import os
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings, parse
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_json
from hardwatt.machines import choice
from hardwatt.machines.embedded import privileged


def lab(tmp_path: Path, name: str = "t1", **more: object) -> Lab:
    settings = parse(Settings, {"name": name, **more}, "test")
    return Lab(settings, tmp_path, tmp_path / ".lab" / name)


def spec(tmp_path: Path, **more: object) -> privileged.Spec:
    given = {"ident": "0a1b2c3d", "hostname": "t1", "folder": str(tmp_path / "lab"), "archive": str(tmp_path / "a.tar"),
             "log": str(tmp_path / "log"), "record": str(tmp_path / "state/hardwatt/host")}  # fmt: skip
    return privileged.Spec(**{**given, **more})  # type: ignore[arg-type]


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is not root, and a sudo that only checks how it is called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sudo").write_text('#!/bin/sh\ntest "$1" = -n || exit 99\nshift\nexec "$@"\n')
    (folder / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("sudo")
def test_the_part_that_needs_root_answers_through_sudo(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    first = privileged.call("claim", spec(tmp_path))["subnet"]
    assert first.startswith("10.77.")
    assert privileged.call("claim", spec(tmp_path, reserved=(first,)))["subnet"] == first, "a lab keeps its network"
    other = privileged.call("claim", spec(tmp_path, ident="ffffffff", reserved=("10.77.0.0/17",)))["subnet"]
    assert int(other.split(".")[2]) >= 128


@pytest.mark.usefixtures("sudo")
def test_an_error_of_the_part_that_needs_root_comes_through_with_its_hint(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="taken") as caught:
        privileged.call("claim", spec(tmp_path, reserved=("10.0.0.0/8",)))
    assert "lab.down" in caught.value.hint


def test_a_start_that_was_killed_before_it_had_an_address_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = lab(tmp_path, machine="embedded")
    machine = choice.machine_for(mine)
    write_json(mine.dir / "machine.json", {"kind": "embedded", "ident": "0a1b2c3d", "process": None})
    assert machine.status().state == "stopped"
    with pytest.raises(LabError, match="no machine"):
        machine.endpoint()
    called: list[str] = []

    def call(verb: str, _: privileged.Spec, **more: object) -> dict[str, object]:
        called.append(verb)
        return {"restored": [], "cleaned": []}

    monkeypatch.setattr(privileged, "call", call)
    machine.destroy()
    assert called == ["stop", "destroy"]
    assert machine.status().state == "absent"
