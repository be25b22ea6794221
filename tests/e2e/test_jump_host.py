"""The running lab, reached through a jump host: the node itself plays it, so that all of it is real."""

import dataclasses
import http.server
import ipaddress
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.cluster import api_tunnel, client
from hardwatt.cluster import status as cluster_status
from hardwatt.config.lab import Lab
from hardwatt.connect import ssh_routes, tunnels
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.background import Record
from hardwatt.core.errors import LabError
from hardwatt.core.files import read_json, write_atomic, write_json
from hardwatt.machines import choice
from hardwatt.provision import git_keys
from hardwatt.provision.node_data import node_file
from tests.e2e.support import ROOT, Story

pytestmark = pytest.mark.e2e


@pytest.fixture
def far(story: Story) -> Endpoint:
    end = choice.machine_for(story.lab).endpoint()
    return dataclasses.replace(end, jump=f"root@{end.address}:22", reverse=True, controller_address="127.0.0.1")


@pytest.fixture
def behind(story: Story, far: Endpoint, tmp_path: Path) -> Iterator[Lab]:
    """The same lab in a folder of its own, as it would be behind a jump host."""
    lab = dataclasses.replace(story.lab, dir=tmp_path / "lab")
    lab.logs.mkdir(parents=True)
    shutil.copy(story.lab.dir / "machine.json", lab.dir)
    data = read_json(node_file(story.lab))
    write_atomic(lab.dir / "ssh_config", ssh_routes.ssh_config(far))
    write_json(node_file(lab), {**data, "ssh": {**data["ssh"], "config": str(lab.dir / "ssh_config")}})
    yield lab
    api_tunnel.stop(lab)


def test_commands_go_through_the_jump_host(far: Endpoint) -> None:
    with Ssh(far) as ssh:
        seen = ssh.run("echo $SSH_CONNECTION").stdout.split()
    assert seen[0] == far.address, "the connection comes from the jump host, and not from here"


def test_the_api_goes_through_a_tunnel_that_is_kept(behind: Lab, far: Endpoint) -> None:
    assert client.fetch_kubeconfig(behind, far)
    assert "server: https://127.0.0.1:" in behind.kubeconfig.read_text()
    assert cluster_status.read(behind).nodes == {far.name: True}
    assert Record(behind.dir / "tunnel.json").stop()
    assert cluster_status.read(behind).nodes == {far.name: True}, "an ended tunnel is started again"
    assert not client.fetch_kubeconfig(behind, far), "at the same port"


def test_git_goes_through_the_jump_host(story: Story, far: Endpoint, tmp_path: Path) -> None:
    assert ssh_routes.ssh_answers(far, git_keys.PORT)
    remote = git_keys.remote(far)
    known_hosts = tmp_path / "known_hosts"
    # the jump host's key stands beside the git server's, as in the lab's own file
    shutil.copy(far.known_hosts, known_hosts)
    command = git_keys.ssh_command(
        git_keys.path(story.lab, "controller"), known_hosts, way=ssh_routes.git_proxy_options(far, git_keys.PORT)
    )
    env = {**os.environ, "GIT_SSH_COMMAND": command}
    done = subprocess.run(["git", "ls-remote", remote.url("lab")], env=env, capture_output=True, text=True, check=True)
    assert "refs/heads/main" in done.stdout


def test_what_is_served_here_comes_to_the_node_s_loopback(behind: Lab, far: Endpoint, tmp_path: Path) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from here")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        with tunnels.reverse(far, (port,), behind.logs / "reverse.log"), Ssh(far) as ssh:
            assert ssh.run(f"curl -fsS http://127.0.0.1:{port}/").stdout == "from here"
        with Ssh(far) as ssh:
            assert ssh.run(f"curl -fsS http://127.0.0.1:{port}/", check=False).returncode != 0
        server.shutdown()


def test_a_program_reaches_the_node_s_own_network(behind: Lab, far: Endpoint) -> None:
    with tunnels.socks(far, behind.logs / "socks.log") as env:
        proxy = env["ALL_PROXY"].replace("socks5:", "socks5h:")
        argv = ["curl", "-fsSk", "--proxy", proxy, f"https://{far.node_address}:6443/livez"]
        assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "ok"


def test_the_deploys_go_through_the_jump_host(behind: Lab, far: Endpoint, tmp_path: Path) -> None:
    hop = str(int(ipaddress.IPv4Address(far.address)))  # the same address by another name, so that it is another host
    known_hosts = tmp_path / "known_hosts"
    known = far.known_hosts.read_text()
    known_hosts.write_text(known + known.replace(far.address, hop))
    other = dataclasses.replace(far, jump=f"root@{hop}:22", known_hosts=known_hosts)
    write_atomic(behind.dir / "ssh_config", ssh_routes.ssh_config(other))
    argv = [sys.executable, "-m", "pyinfra", "inventory/lab.py", "exec", "--", "echo", "from", "$SSH_CONNECTION"]
    env = {**os.environ, "HARDWATT_NODE_FILE": str(node_file(behind)), "PYINFRA_PROGRESS": "off"}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"from {far.address} " in done.stdout + done.stderr

    known_hosts.write_text(known)
    strict = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert strict.returncode != 0, "a jump host whose key is not known is refused"


def test_a_jump_host_whose_key_is_not_known_ends_it(far: Endpoint, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    with pytest.raises(LabError), Ssh(dataclasses.replace(far, known_hosts=empty)):
        raise AssertionError("nobody was asked whether the key is right")
