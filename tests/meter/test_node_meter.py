"""A node's meter as it runs: its configuration against the lab's, and whether it records."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploys import contract
from hardwatt.core.errors import VerifyError
from hardwatt.core.process import Result
from hardwatt.meter import node_config, node_meter
from hardwatt.meter.record_file import encode

SHA, OTHER = "ab" * 32, "cd" * 32
NOW = 1_790_000_000


def answer(
    *, active: str = "active", written: str = SHA, running: str = SHA, age: float | None = 1.0, torn: bool = False
) -> str:
    record = encode({"k": "r", "n": 1, "t": int((NOW - (age or 0)) * 1e9), "m": 1, "d": 1, "v": []}).decode()
    lines = [
        f"active={active}",
        f"written={written}",
        f'info=hardwatt_meter_info{{config_sha256="{running}",cpu="cgroup",model="generic",source="modelled"}} 1',
        f"now={NOW}",
        "bytes=3145728",
    ]
    return "\n".join(lines) + "\n" + ("" if age is None else record + (record[:-9] if torn else ""))


def test_a_meter_that_runs_as_the_lab_says() -> None:
    state = node_meter.parse(answer())
    assert state.difference(SHA) == ""
    assert state.records
    assert state.sentence == f"hardwatt-meter.service runs and records (3.0 MiB in {node_config.RECORD})"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"active": "inactive"}, "does not run on the node (hardwatt-meter.service is inactive)"),
        ({"written": OTHER, "running": OTHER}, "(/etc/hardwatt/meter.json) is not the lab's"),
        ({"written": OTHER}, "(/etc/hardwatt/meter.json) is not the lab's"),
        # The file was put back after a restart with another model: the running meter tells what it has read.
        ({"running": OTHER}, "the running meter has read another configuration than the lab's"),
        ({"running": ""}, "the running meter has read another configuration than the lab's"),
    ],
)
def test_a_meter_that_runs_otherwise_is_told_apart(given: dict[str, Any], text: str) -> None:
    assert text in node_meter.parse(answer(**given)).difference(SHA)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"active": "failed"}, "is failed: nothing is recorded"),
        ({"active": ""}, "is unknown: nothing is recorded"),
        ({"age": None}, "runs but has recorded nothing"),
        ({"age": 300.0}, "its last record is 300 s old"),
    ],
)
def test_a_meter_that_does_not_record_says_why(given: dict[str, Any], text: str) -> None:
    state = node_meter.parse(answer(**given))
    assert not state.records
    assert text in state.sentence


def test_a_last_record_that_is_cut_off_is_passed_over() -> None:
    assert node_meter.parse(answer(torn=True)).record_age == pytest.approx(1.0)


@pytest.mark.parametrize("text", ["", "sh: not found", "active=active\nwritten=\ninfo=\nnow=soon\nbytes=0\n"])
def test_another_answer_is_refused(text: str) -> None:
    with pytest.raises(VerifyError, match="something else"):
        node_meter.parse(text)


def test_the_script_reads_what_is_there_and_survives_what_is_not(tmp_path: Path) -> None:
    """As a shell runs it, with the node's folders below a temporary one."""
    config = {"source": "modelled", "cpus": 2}
    text = contract.Meter(config, {}, ()).text
    for name, content in (
        (node_config.CONFIG, text.encode()),
        (node_config.PAGE, f'hardwatt_meter_info{{config_sha256="{SHA}"}} 1\n'.encode()),
        (node_config.RECORD, encode({"k": "r", "n": 1, "t": NOW * 10**9, "m": 1, "d": 1, "v": []})),
    ):
        file = tmp_path / name.lstrip("/")
        file.parent.mkdir(parents=True)
        file.write_bytes(content)

    def run(command: str, *, check: bool) -> Result:
        for name in (node_config.CONFIG, node_config.ROOT):
            command = command.replace(name, str(tmp_path / name.lstrip("/")))
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=check)
        return Result(("sh",), done.returncode, done.stdout, done.stderr, 0.0)

    state = node_meter.read(run)
    assert state.written_sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert state.running_sha256 == SHA
    assert state.recorded_bytes == (tmp_path / node_config.RECORD.lstrip("/")).stat().st_size
    assert state.record_age is not None
    (tmp_path / node_config.RECORD.lstrip("/")).unlink()
    assert node_meter.read(run).record_age is None


def test_the_lab_and_the_deploy_write_one_text() -> None:
    meter = contract.Meter({"b": 1, "a": [2]}, {}, ())
    assert json.loads(meter.text) == meter.config
    assert meter.text == '{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'
