"""The way to a node: through a jump host, at forwarded ports, directly; nothing is connected to."""

import dataclasses
import shlex
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hardwatt.cluster import api_tunnel
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect import ssh_routes, tunnels
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh_routes import Hop
from hardwatt.core import process
from hardwatt.core.errors import LabError
from hardwatt.core.files import read_json, write_json
from hardwatt.core.ports import free_port
from hardwatt.core.process import Process

END = Endpoint(
    "n", "ssh", "198.51.100.7", 22, "root", Path("/k/ssh key"), Path("/k/known_hosts"), "192.0.2.1", "198.51.100.7"
)
JUMPED = dataclasses.replace(END, jump="admin@192.0.2.9:2200", reverse=True)
FORWARDED = dataclasses.replace(
    END, address="127.0.0.1", port=40022, node_address="10.0.2.15", forwards={"22": 40022, "6443": 46443, "2222": 42222}
)


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("jump", Hop("root", "jump", 22)),
        ("admin@jump.example.org", Hop("admin", "jump.example.org", 22)),
        ("admin@192.0.2.9:2200", Hop("admin", "192.0.2.9", 2200)),
        ("[2001:db8::1]:2200", Hop("root", "2001:db8::1", 2200)),
    ],
)
def test_a_jump_host_is_read_and_written(text: str, hop: Hop) -> None:
    assert Hop.parse(text) == hop
    assert Hop.parse(str(hop)) == hop


@pytest.mark.parametrize("text", ["admin@", "jump:ssh", ""])
def test_no_jump_host(text: str) -> None:
    with pytest.raises(LabError, match="no host to go through"):
        Hop.parse(text)


def test_both_host_keys_are_checked_and_nothing_of_the_user_s_is_used() -> None:
    words = shlex.split(ssh_routes.proxy_command(JUMPED, "198.51.100.7:22"))
    assert words[-3:] == ["-W", "198.51.100.7:22", "admin@192.0.2.9"]
    assert words[words.index("-p") + 1] == "2200"
    assert 'IdentityFile="/k/ssh key"' in words
    for option in ("StrictHostKeyChecking=yes", "UserKnownHostsFile=/k/known_hosts", "IdentityAgent=none"):
        assert option in words
    assert words[words.index("-F") + 1] == "none"
    assert ssh_routes.proxy_options(END) == []
    assert ssh_routes.ssh_config(END) == ""
    assert ssh_routes.ssh_config(JUMPED).splitlines()[0] == "Host 198.51.100.7"
    assert f"ProxyJump {ssh_routes.Hop.parse(JUMPED.jump)}" in ssh_routes.ssh_config(JUMPED)
    assert "StrictHostKeyChecking yes" in ssh_routes.ssh_config(JUMPED)


def test_git_finds_the_node_by_its_own_address_and_knows_it_by_that() -> None:
    assert ssh_routes.git_proxy_options(FORWARDED, 2222) == [
        "-o", "HostName=127.0.0.1", "-o", "Port=42222", "-o", "HostKeyAlias=[10.0.2.15]:2222",
    ]  # fmt: skip
    assert ssh_routes.git_proxy_options(END, 2222) == []
    assert ssh_routes.git_proxy_options(JUMPED, 2222)[1].startswith("ProxyCommand=ssh ")


def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="t1"), tmp_path, tmp_path / ".lab/t1")


def test_the_api_is_taken_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = lab(tmp_path)
    opened: list[list[str]] = []

    def tunnel(end: Endpoint, forwards: list[str], port: int, log: Path, *, started: Callable[[Process], None]) -> None:
        opened.append(forwards)
        started(Process(2**22 + 1, 1))

    monkeypatch.setattr(tunnels, "tunnel", tunnel)
    monkeypatch.setattr(api_tunnel, "_answers", lambda host: host == "198.51.100.7")
    assert api_tunnel.address(mine, FORWARDED) == ("127.0.0.1", 46443)
    assert api_tunnel.address(mine, END) == ("198.51.100.7", 6443)
    assert not opened
    host, port = api_tunnel.address(mine, JUMPED)
    assert (host, opened) == ("127.0.0.1", [["-L", f"127.0.0.1:{port}:127.0.0.1:6443"]])
    api_tunnel.keep(mine)
    assert opened[1] == opened[0], "an ended one is started again at the same port"
    monkeypatch.setattr(api_tunnel, "_answers", lambda host: False)
    assert api_tunnel.address(mine, END)[0] == "127.0.0.1", "6443 is not reachable"
    monkeypatch.setattr(api_tunnel, "_answers", lambda host: True)
    assert api_tunnel.address(mine, END) == ("198.51.100.7", 6443)
    assert read_json(mine.dir / "tunnel.json") is None, "what is not needed any more is ended"


def test_a_port_that_somebody_else_took_is_not_fought_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = lab(tmp_path)
    monkeypatch.setattr(tunnels, "tunnel", lambda *_, **more: more["started"](Process(2**22 + 1, 1)))
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        port = theirs.getsockname()[1]
        gone = {"port": port, "process": Process(2**22 + 1, 1).to_dict(), "endpoint": JUMPED.to_dict()}
        write_json(mine.dir / "tunnel.json", gone)
        assert api_tunnel.address(mine, JUMPED)[1] != port


@pytest.mark.parametrize("before", [{}, {"port": 46443, "process": {"pid": 2**22 + 1, "started": 1}}])
def test_a_tunnel_that_does_not_start_leaves_no_other_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, object]
) -> None:
    def tunnel(*_: object, started: Callable[[Process], None]) -> None:
        started(Process(2**22 + 1, 1))
        raise LabError("ssh ended")

    mine = lab(tmp_path)
    monkeypatch.setattr(tunnels, "tunnel", tunnel)
    state = {**before, "endpoint": JUMPED.to_dict()} if before else {}
    if state:
        write_json(mine.dir / "tunnel.json", state)
    with pytest.raises(LabError, match="ssh ended"):
        api_tunnel.address(mine, JUMPED)
    assert read_json(mine.dir / "tunnel.json", {}) == state


def test_ssh_s_last_word_is_told(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").touch()
    end = dataclasses.replace(END, address="127.0.0.1", port=9, known_hosts=tmp_path / "known_hosts")
    # ssh may end before it is looked at for the first time: then the command itself is the error.
    with pytest.raises(LabError, match=r"(ssh ended|command ended with 255)[\s\S]*refused"):
        tunnels.tunnel(end, ["-N"], free_port(), tmp_path / "log")


def test_a_forwarded_port_is_not_taken_for_an_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        end = dataclasses.replace(FORWARDED, forwards={"22": server.getsockname()[1]})

        def speak(text: bytes) -> None:
            connection = server.accept()[0]
            connection.sendall(text)
            connection.close()

        for text, answer in ((b"SSH-2.0-x\r\n", True), (b"", False)):
            thread = threading.Thread(target=speak, args=(text,))
            thread.start()
            assert ssh_routes.ssh_answers(end, 22) is answer
            thread.join()
    assert not ssh_routes.ssh_answers(end, 22), "nothing listens"


def test_what_is_reached_directly_needs_no_proxy(tmp_path: Path) -> None:
    with tunnels.socks(END, tmp_path / "log") as env:
        assert env == {}
    with tunnels.reverse(END, (8080,), tmp_path / "log"):
        assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("kind", ["socks", "reverse", "tunnel"])
def test_what_a_command_holds_ends_with_it_and_what_the_lab_keeps_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    ties: list[bool] = []

    def spawn(argv: list[str], *, log: Path, env: object, tied: bool) -> Process:
        ties.append(tied)
        raise InterruptedError

    monkeypatch.setattr(process, "spawn", spawn)
    log = tmp_path / "log"
    end = dataclasses.replace(JUMPED, reverse=True)
    opened: dict[str, Callable[[], object]] = {
        "socks": tunnels.socks(end, log).__enter__,
        "reverse": tunnels.reverse(end, (8080,), log).__enter__,
        "tunnel": lambda: tunnels.tunnel(end, ["-L", "1:2:3"], 1, log),
    }
    with pytest.raises(InterruptedError):
        opened[kind]()
    assert ties == [kind != "tunnel"]
