"""A lab that commit 800bb92 made is looked at and taken down."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hardwatt.cluster import api_tunnel, port_forward
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT
from hardwatt.connect import tunnels
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.files import read_json, write_json
from hardwatt.core.process import Process, spawn
from hardwatt.lifecycle import inspect, up
from hardwatt.machines import choice, identity
from hardwatt.machines.embedded import network, privileged
from hardwatt.machines.embedded.host_record import HostRecord
from hardwatt.mirror import servers
from hardwatt.provision import node_data, selinux_denials
from tests.compatibility.support import MADE, lab_in, place

ENDED = {"pid": 999999999, "started": 1}


def running(tmp_path: Path) -> Process:
    """Start a process that stands for one which the old lab left running."""
    return spawn(["sleep", "60"], log=tmp_path / "sleep.log")


@pytest.mark.parametrize(("kind", "interval"), [("embedded", "1s"), ("vm", "5s")])
def test_the_node_of_an_old_lab_is_known(tmp_path: Path, kind: str, interval: str) -> None:
    lab = lab_in(tmp_path)
    place(lab, "lab/machine.json" if kind == "embedded" else "vm/machine.json")
    found = choice.machine_for(lab)
    assert found.kind == kind
    end = found.endpoint()
    stored = read_json(lab.dir / "machine.json")["endpoint"]
    assert end.scrape_interval == stored.pop("reading_interval") == interval
    assert {**end.to_dict(), "scrape_interval": None} == {**stored, "scrape_interval": None}
    assert Endpoint.from_dict(end.to_dict()) == end


def test_today_s_value_counts_where_a_file_has_both_names() -> None:
    stored = read_json(MADE / "lab/machine.json")["endpoint"]
    both = {**stored, "scrape_interval": "7s"}
    assert Endpoint.from_dict(both).scrape_interval == "7s"
    assert Endpoint.from_dict(dict(reversed(both.items()))).scrape_interval == "7s"


def test_status_of_an_old_lab_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lab = lab_in(tmp_path)
    node = running(tmp_path)
    try:
        place(lab, "lab/machine.json", process=node.to_dict())
        asked: list[Endpoint] = []
        monkeypatch.setattr(network, "fault", lambda ident, addresses: "")
        monkeypatch.setattr(selinux_denials, "on_node", asked.append)
        assert inspect.status(lab) == 1
    finally:
        node.stop()
    said = capsys.readouterr()
    assert "lab t1: embedded machine running 10.77.0.2" in said.out + said.err
    assert "next: invoke lab.up" in said.out + said.err
    assert [end.scrape_interval for end in asked] == ["15s"], "today's default, whatever the old lab had"


def test_status_of_an_old_lab_whose_machine_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = lab_in(tmp_path)
    place(lab, "lab/machine.json", process=ENDED)
    assert inspect.status(lab) == 1
    said = capsys.readouterr()
    assert "machine dead" in said.out + said.err


def old_lab(tmp_path: Path, machine: str) -> tuple[Lab, list[Process]]:
    """Return a lab with every state file of 800bb92, and the processes that it runs."""
    lab = lab_in(tmp_path)
    mine = [running(tmp_path) for _ in range(4)]
    forward, tunnel, *serving = [process.to_dict() for process in mine]
    place(lab, machine, process=ENDED)
    place(lab, "lab/forward-prometheus.json", process=forward)
    place(lab, "lab/tunnel.json", process=tunnel)
    place(lab, "lab/served.json", processes=serving)
    node_data.node_file(lab).write_bytes((ROOT / "tests/deploys/written_by_800bb92.json").read_bytes())
    write_json(lab.dir / "experiment.json", read_json(MADE / "experiment/experiment.json"))
    lab.kubeconfig.write_text("{}")
    identity.ensure_key(lab, identity.HOST_KEY)
    return lab, mine


def test_an_old_embedded_lab_is_taken_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, processes = old_lab(tmp_path, "lab/machine.json")
    called: list[tuple[str, dict[str, Any]]] = []

    def call(verb: str, spec: object, **more: object) -> dict[str, Any]:
        called.append((verb, more))
        return {"restored": [], "cleaned": []}

    monkeypatch.setattr(privileged, "call", call)
    assert up.undone(lab) == []
    up.down(lab)
    assert called == [("stop", {"process": None}), ("destroy", {"subnet": "10.77.0.0/24"})]
    assert_down(lab, processes)


def test_an_old_virtual_machine_is_taken_down(tmp_path: Path) -> None:
    lab, processes = old_lab(tmp_path, "vm/machine.json")
    (lab.dir / "machine").mkdir()
    up.down(lab)
    assert not (lab.dir / "machine").exists()
    assert_down(lab, processes)


def assert_down(lab: Lab, processes: list[Process]) -> None:
    assert not [process for process in processes if process.alive()]
    for name in ("machine.json", "forward-prometheus.json", "tunnel.json", "node.json", "kubeconfig"):
        assert not (lab.dir / name).exists(), name
    assert not (lab.keys / identity.HOST_KEY).exists()
    journal = read_json(lab.dir / "experiment.json")
    assert (journal["state"], journal["undo"]) == ("abandoned", [])
    up.down(lab)  # nothing is left, and it may be said again


def test_an_old_forward_and_old_servers_are_found(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    process = running(tmp_path)
    try:
        place(lab, "lab/forward-prometheus.json", process=process.to_dict())
        assert port_forward.status(lab) == "prometheus on http://localhost:9090"
        place(lab, "lab/served.json", processes=[process.to_dict()])
        assert servers.stop_serving(lab)
        assert not process.alive()
    finally:
        process.stop()


def test_an_old_tunnel_that_ended_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lab_in(tmp_path)
    place(lab, "lab/tunnel.json", process=ENDED)
    opened: list[Endpoint] = []

    def tunnel(
        end: Endpoint, forwards: list[str], port: int, log: Path, *, started: Callable[[Process], None]
    ) -> Process:
        opened.append(end)
        started(Process(**ENDED))
        return Process(**ENDED)

    monkeypatch.setattr(tunnels, "tunnel", tunnel)
    api_tunnel.keep(lab)
    assert [end.jump for end in opened] == ["admin@192.0.2.1:22"]
    assert "reading_interval" not in read_json(lab.dir / "tunnel.json")["endpoint"]


def test_an_old_record_of_this_host_is_read(tmp_path: Path) -> None:
    record = HostRecord(tmp_path / "hardwatt", tmp_path / "sys", tmp_path / "boot_id", take=dict)
    (tmp_path / "boot_id").write_text("0e1f\n")
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "sys/vm/overcommit_memory").write_text("1\n")
    stored = read_json(MADE / "lab/record.json")
    stored["labs"]["0a1b2c3d"]["folder"] = str(tmp_path)
    write_json(tmp_path / "hardwatt/record.json", stored)
    assert record.labs["0a1b2c3d"]["subnet"] == "10.77.0.0/24"
    restored = record.release("0a1b2c3d")
    assert restored == ["vm/overcommit_memory = 0"]
    record.forget("0a1b2c3d")
    assert not (tmp_path / "hardwatt").exists()
