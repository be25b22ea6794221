"""Serving in the background: found again, restarted when dead, ports kept, stopped."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT
from hardwatt.core import files, ports
from hardwatt.core.errors import LabError
from hardwatt.core.process import Process
from hardwatt.core.wait import wait
from hardwatt.mirror import servers
from hardwatt.mirror.fill import mirror_root
from hardwatt.mirror.index import Artefact, Index
from tests.mirror import small

# A double of the registry: it reads the configuration that the real one would, and answers.
REGISTRY = f"""#!/bin/sh
'''exec' "{sys.executable}" "$0" "$@" # as pip does where the path of the environment has a space
' '''
import http.server, json, pathlib, sys
assert sys.argv[1] == "serve", sys.argv
config = json.loads(pathlib.Path(sys.argv[2]).read_text())
assert pathlib.Path(config["storage"]["filesystem"]["rootdirectory"]).is_dir()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
host, _, port = config["http"]["addr"].rpartition(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = small.lab(tmp_path)
    root = mirror_root(lab)
    files.write_atomic(root / "tools" / "registry", REGISTRY, mode=0o755)
    files.write_atomic(root / "apt" / "hardwatt.asc", "a public key")
    tool = Artefact("registry", "tool", "node", "3.1.2", "built", "", "", "tools/registry", "")
    Index(root, (tool,)).write()
    yield lab
    servers.stop_serving(lab)


_SERVES = """
import sys, time
from pathlib import Path
from hardwatt.mirror import servers
from tests.mirror import small
servers.serve(small.lab(Path(sys.argv[1])), "127.0.0.1")
print("serves", flush=True)
time.sleep(60)
"""


def test_servers_end_with_the_command_that_is_killed(lab: Lab, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", _SERVES, str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "serves\n"
        served = servers.serving(lab)
        assert served is not None and len(served.processes) == 2
        command.kill()
    wait(
        lambda: [one for one in served.processes if one.alive()], lambda left: not left, what="end of the servers",
        timeout=10, delay=0.05,
    )  # fmt: skip


def test_served_found_again_and_stopped(lab: Lab) -> None:
    served = servers.serve(lab, "127.0.0.1")
    assert ports.answers(f"http://{served.registry}/v2/")
    assert ports.answers(f"{served.apt_url}/hardwatt.asc")
    assert served.mirror_of("registry.k8s.io") == f"http://{served.registry}/v2/registry.k8s.io"
    assert served.key_path.read_text() == "a public key"
    assert servers.serve(lab, "127.0.0.1") == served == servers.serving(lab)
    assert servers.stop_serving(lab)
    assert not any(process.alive() for process in served.processes)
    assert servers.serving(lab) is None
    assert not servers.stop_serving(lab)


def test_a_dead_server_is_started_again_at_the_same_port(lab: Lab) -> None:
    served = servers.serve(lab, "127.0.0.1")
    served.processes[1].stop()
    again = servers.serve(lab, "127.0.0.1")
    assert (again.apt_url, again.registry) == (served.apt_url, served.registry)
    assert again.processes[1] != served.processes[1]
    assert not served.processes[0].alive()


def test_a_port_that_somebody_took_is_passed_by(lab: Lab) -> None:
    served = servers.serve(lab, "127.0.0.1")
    servers.stop_serving(lab)
    host, _, port = served.registry.rpartition(":")
    with socket.create_server((host, int(port))):
        again = servers.serve(lab, "127.0.0.1")
    assert again.registry != served.registry
    assert again.apt_url == served.apt_url
    assert ports.answers(f"http://{again.registry}/v2/")


def test_another_process_with_the_number_of_ours_is_left_alone(lab: Lab) -> None:
    servers.serve(lab, "127.0.0.1")
    servers.stop_serving(lab)
    known = files.read_json(lab.dir / "served.json")
    myself = Process.of(os.getpid())
    assert myself is not None
    known["processes"] = [{"pid": myself.pid, "started": myself.started - 1}]
    files.write_json(lab.dir / "served.json", known)
    assert not servers.stop_serving(lab)


def test_an_address_that_is_not_ours_is_said(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"cannot be served at 192\.0\.2\.1"):
        servers.serve(lab, "192.0.2.1")


def test_a_registry_that_ends_at_once_is_said_with_its_log(lab: Lab) -> None:
    files.write_atomic(mirror_root(lab) / "tools" / "registry", "#!/bin/sh\nexit 3\n", mode=0o755)
    with pytest.raises(LabError, match=r"mirror-serve\.log"):
        servers.serve(lab, "127.0.0.1")


def test_an_empty_mirror_names_the_command_that_fills_it(tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        servers.serve(small.lab(tmp_path), "127.0.0.1")
    assert caught.value.hint == "invoke mirror.fill"


def test_a_registry_whose_record_a_kill_prevented_is_stopped(lab: Lab) -> None:
    served = servers.serve(lab, "127.0.0.1")
    record = lab.dir / "served.json"
    files.write_json(record, {**files.read_json(record), "processes": [served.processes[0].to_dict()]})
    assert servers.stop_serving(lab)
    assert not any(process.alive() for process in served.processes)
