"""`lab.status` on the meter: whether it records, and as the lab says."""

from pathlib import Path
from typing import Any

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError
from hardwatt.lifecycle import inspect
from hardwatt.meter import node_meter
from hardwatt.meter.node_meter import NodeMeter
from hardwatt.provision import node_data

WANTED, OTHER = "ab" * 32, "cd" * 32


class _Node:
    """Stands for the connection; what it runs is not looked at."""

    def __init__(self, _endpoint: Endpoint) -> None:
        self.run = None

    def __enter__(self) -> "_Node":
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("meter", "text", "following"),
    [
        (NodeMeter("active", WANTED, WANTED, 1 << 20, 1.0), "hardwatt-meter.service runs and records (1.0 MiB", ""),
        (NodeMeter("failed", WANTED, "", 1 << 20, 90.0), "the meter does not run on the node", "invoke lab.up"),
        (
            NodeMeter("active", OTHER, OTHER, 1 << 20, 1.0),
            "the meter's configuration on the node (/etc/hardwatt/meter.json) is not the lab's",
            "invoke lab.up",
        ),
        (
            NodeMeter("active", WANTED, WANTED, 1 << 20, 90.0),
            "hardwatt-meter.service runs, but its last record is 90 s old",
            "invoke lab.up",
        ),
    ],
)
def test_the_meters_state_and_the_next_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    meter: NodeMeter,
    text: str,
    following: str,
) -> None:
    monkeypatch.setattr(inspect, "Ssh", _Node)
    monkeypatch.setattr(node_meter, "read", lambda _run: meter)
    monkeypatch.setattr(node_data, "meter_sha256", lambda _lab: WANTED)
    assert _state(tmp_path) == following
    assert f"meter: {text}" in capsys.readouterr().err


def test_a_node_that_does_not_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_run: Any) -> NodeMeter:
        raise LabError("the node does not answer", hint="invoke lab.status")

    monkeypatch.setattr(inspect, "Ssh", _Node)
    monkeypatch.setattr(node_meter, "read", fail)
    assert _state(tmp_path) == "invoke lab.up"
    assert "meter: the node does not answer" in capsys.readouterr().err


def _state(folder: Path) -> str:
    lab = Lab(Settings(name="t1"), folder, folder / ".lab" / "t1")
    return inspect._meter_state(lab, None)  # type: ignore[arg-type]
