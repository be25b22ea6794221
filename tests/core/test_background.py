"""Background processes: recorded before they are waited for, ended when they fail, told apart, found in old records."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from hardwatt.cluster import api_tunnel, port_forward
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.core import background, ports, process
from hardwatt.core.background import Record
from hardwatt.core.errors import LabError, WaitError
from hardwatt.core.files import read_json, write_json
from hardwatt.core.process import Process
from hardwatt.mirror import servers

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
ANSWERS = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path[1:]))
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def sleeping(tmp_path: Path) -> Process:
    return process.spawn(SLEEP, log=tmp_path / "log")


def test_it_is_recorded_before_it_is_waited_for_and_runs_when_it_answers(tmp_path: Path) -> None:
    port, record = ports.free_port(), Record(tmp_path / "record.json")
    recorded: list[bool] = []

    def ready() -> bool:
        recorded.append(record.alive())
        return ports.answers(f"http://127.0.0.1:{port}/200")

    made = background.start(
        [sys.executable, "-c", ANSWERS, str(port)], ready, what="a server", log=tmp_path / "log", timeout=20,
        started=lambda found: record.write({"port": port}, found),
    )  # fmt: skip
    try:
        assert recorded
        assert all(recorded)
        assert record.processes() == (made,)
        assert record.read()["port"] == port
        assert ports.listens(port)
        assert not ports.answers(f"http://127.0.0.1:{port}/503")
    finally:
        assert record.forget()
    assert not made.alive()
    assert not record.path.exists()
    assert not record.forget()


def test_a_program_that_ends_is_told_with_its_last_line_and_the_log(tmp_path: Path) -> None:
    code = "import sys, time; print('starting', flush=True); time.sleep(0.5); sys.exit('the port is taken')"
    with pytest.raises(LabError, match=r"python\S* ended: the port is taken \(the whole log: .*log\)") as caught:
        background.start(
            [sys.executable, "-c", code], lambda: False, what="a server", log=tmp_path / "log", timeout=20, hint="next"
        )
    assert caught.value.hint == "next"


@pytest.mark.parametrize("where", ["too late", "interrupted", "not recorded"])
def test_what_never_gets_ready_does_not_stay(tmp_path: Path, where: str) -> None:
    made: list[Process] = []

    def started(found: Process) -> None:
        made.append(found)
        if where == "not recorded":
            raise OSError("no space left on device")

    def ready() -> bool:
        if where == "interrupted":
            raise KeyboardInterrupt
        return False

    with pytest.raises({"too late": WaitError, "interrupted": KeyboardInterrupt, "not recorded": OSError}[where]):
        background.start(SLEEP, ready, what="it", log=tmp_path / "log", timeout=0, started=started)
    (found,) = made
    assert not found.alive()


def test_the_rest_of_a_record_outlives_its_processes(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.json")
    first, second = sleeping(tmp_path), sleeping(tmp_path)
    record.write({"port": 1}, first, second)
    assert record.alive()
    first.stop()
    assert not record.alive(), "all of them have to run"
    assert record.stop()
    assert not second.alive()
    assert not record.stop()
    assert record.read()["port"] == 1


def test_another_process_with_the_number_is_left_alone(tmp_path: Path) -> None:
    record, me = Record(tmp_path / "record.json"), Process.of(os.getpid())
    assert me is not None
    record.write({}, Process(me.pid, me.started - 1))
    assert not record.alive()
    assert not record.forget()


ENDPOINT = {
    "name": "t1", "kind": "ssh", "address": "192.0.2.1", "port": 22, "user": "root", "key": "/k", "known_hosts": "/h",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["forward", "tunnel", "mirror"])
def test_what_a_lab_of_800bb92_runs_is_found_and_stopped(tmp_path: Path, kind: str) -> None:
    """The files as that commit wrote them: one ``process`` of a forward and a tunnel, ``processes`` of the mirror."""
    lab = Lab(Settings(name="t1"), tmp_path, tmp_path / ".lab/t1")
    running = sleeping(tmp_path)
    row = running.to_dict()
    assert set(row) == {"pid", "started"}
    files: dict[str, tuple[str, dict[str, Any]]] = {
        "forward": ("forward-prometheus.json", {"target": "prometheus", "local_port": 9090, "process": row}),
        "tunnel": ("tunnel.json", {"port": 40001, "process": row, "endpoint": ENDPOINT}),
        "mirror": (
            "served.json",
            {"address": "127.0.0.1", "root": "/m", "apt_port": 1, "registry_port": 2, "processes": [row]},
        ),
    }
    name, state = files[kind]
    write_json(lab.dir / name, state)
    assert Record(lab.dir / name).processes() == (running,)
    if kind == "forward":
        assert port_forward.status(lab) == "prometheus on http://localhost:9090"
    for stop in (port_forward.stop, api_tunnel.stop, servers.stop_serving):
        stop(lab)
    assert not running.alive()
    assert (read_json(lab.dir / name) is None) is (kind != "mirror"), "the mirror's ports stay known"
