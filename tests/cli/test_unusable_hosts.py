"""Hosts that cannot be used: each task that concerns it names host, reason and next command where it cannot be used.

The SSH servers are real ones on loopback; a route that is down and a name that does not resolve are simulated.
"""

import errno
import json
import os
import re
import shlex
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

import tasks
from hardwatt.cli.commands import COMMANDS
from hardwatt.cli.execution import execute
from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT, Host, Settings
from hardwatt.connect import sudo
from hardwatt.connect.host_keys import fingerprint
from hardwatt.core import credentials
from hardwatt.core.files import write_json
from hardwatt.core.problem import Problem
from hardwatt.lifecycle import inspect
from hardwatt.meter import sources
from hardwatt.provision import node_data, runner
from tests.connect.test_ssh import Server


def command(name: str, /, **given: object) -> Callable[[], int]:
    """Return the run of a command with the values of its arguments."""
    return lambda: execute(COMMANDS[name], given)


CONCERNED = {
    "lab.check": command("lab.check"),
    "lab.plan": command("lab.plan"),
    "lab.status": command("lab.status"),
    "lab.up": command("lab.up"),
    "meter.list": command("meter.list"),
    "experiment.run": command("experiment.run", study="push-vs-pull"),
    "experiment.qualify": command("experiment.qualify"),
    "experiment.resume": command("experiment.resume"),
    "lab.quickstart": command("lab.quickstart"),
    "lab.kubeconfig": command("lab.kubeconfig"),
}
"""Tasks that need the host, and root there."""
WITHOUT_ROOT = {
    "energy.query": command("energy.query", query="node"),
    "experiment.dump": command("experiment.dump", match=["up"], start="5m", source="modelled"),
    "gitops.app": command("gitops.app", state="on"),
    "gitops.clone": command("gitops.clone", folder="never-made"),
    "gitops.reconcile": command("gitops.reconcile"),
    "gitops.resume": command("gitops.resume"),
    "gitops.show": command("gitops.show"),
    "gitops.status": command("gitops.status"),
    "gitops.suspend": command("gitops.suspend"),
    "lab.forward": command("lab.forward", target="prometheus"),
    "lab.machine.shell": command("lab.machine.shell"),
    "lab.machine.start": command("lab.machine.start"),
    "meter.model": command("meter.model", action="show"),
    "meter.status": command("meter.status"),
}
"""Tasks that need the host."""
ELSEWHERE = {
    # what they do is on this machine, or in files of it
    "energy.convert", "energy.help", "experiment.analyse", "experiment.compare", "experiment.import", "experiment.list",
    "experiment.plan", "experiment.pool", "experiment.replay", "experiment.report", "experiment.show",
    "experiment.status", "experiment.table", "experiment.talk", "experiment.verify",
    "lab.show", "mirror.export", "mirror.fill", "mirror.import", "mirror.list", "mirror.lock",
    # somebody's host is never stopped
    "lab.machine.stop",
    # a lost host is no reason to keep what is here, and they say so: see test_a_lost_host_...
    "experiment.abandon", "lab.down", "lab.machine.destroy",
    # it is the next command
    "lab.trust",
}  # fmt: skip
MAIN = ("lab.check", "lab.plan", "lab.status", "lab.up", "meter.list", "experiment.run", "experiment.qualify")
_SUDO = """#!/bin/sh
echo "sudo: a password is required" >&2
exit 1
"""


class Target:
    """A lab of a host over SSH, and the server that is this host."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.server = Server(folder)
        self.host: dict[str, Any] = {"address": "127.0.0.1", "port": self.server.port, "key": str(folder / "key")}
        self.place = "127.0.0.1"

    @property
    def lab(self) -> Lab:
        settings = Settings(name="t1", machine="ssh", host=Host(**self.host), mirror={"cache": str(self.folder / "c")})
        return Lab(settings, ROOT, self.folder / "lab")

    def know(self, key: paramiko.PKey) -> None:
        self.lab.dir.mkdir(exist_ok=True)
        self.lab.known_hosts.write_text(f"[127.0.0.1]:{self.server.port} {key.get_name()} {key.get_base64()}\n")

    def run(self, task: Callable[[], int]) -> tuple[int, str]:
        """Run a task; return its exit code and all that it printed."""
        code = task()
        said = self._capsys.readouterr()
        return code, f"{said.out}{said.err}"


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Target]:
    made = Target(tmp_path, capsys)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(sudo.PASSWORD, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    monkeypatch.setattr(os, "execvp", lambda *_: pytest.fail("a shell was opened"))
    monkeypatch.setattr("hardwatt.config.lab.open_lab", lambda: made.lab)
    monkeypatch.setattr(sources, "here", lambda *_, **__: pytest.fail("this machine was taken for the host"))
    yield made
    sudo._forget_all()
    credentials.forget()
    made.server.close()


def _closed(target: Target, _: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        target.host["port"] = free.getsockname()[1]


def _raising(error: OSError) -> Callable[[Target, pytest.MonkeyPatch], None]:
    def arrange(_: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        connect = socket.socket.connect

        def fail(self: socket.socket, address: Any) -> None:
            if self.type == socket.SOCK_STREAM:
                raise error
            connect(self, address)

        monkeypatch.setattr(socket.socket, "connect", fail)

    return arrange


def _unresolved(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(name: str, *_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    target.host["address"] = target.place = "watts.invalid"


def _changed(target: Target, _: pytest.MonkeyPatch) -> None:
    target.know(paramiko.ECDSAKey.generate())


def _jump(target: Target, _: pytest.MonkeyPatch) -> None:
    target.host |= {"address": "192.0.2.10", "port": 22, "jump": f"hop@127.0.0.1:{target.server.port}"}


def _another_key(target: Target, _: pytest.MonkeyPatch) -> None:
    target.know(target.server.host_key)
    paramiko.ECDSAKey.generate().write_private_key_file(str(target.folder / "other"))
    target.host |= {"user": "alice", "key": str(target.folder / "other")}


def _password(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.know(target.server.host_key)
    target.host["user"] = "alice"
    (target.folder / "bin").mkdir()
    (target.folder / "bin/sudo").write_text(_SUDO)
    (target.folder / "bin/sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{target.folder}/bin:{os.environ['PATH']}")


TRUST = r"next: invoke lab\.trust 127\.0\.0\.1$"
CASES: dict[str, tuple[Callable[[Target, pytest.MonkeyPatch], None], str, str]] = {
    "nothing listens": (
        _closed, r"root@127\.0\.0\.1:\d+: connection refused", r"start sshd on 127\.0\.0\.1, or .*invoke lab\.check$",
    ),
    "no answer": (_raising(TimeoutError("timed out")), "no answer in time", r"network .*127\.0\.0\.1.*lab\.check$"),
    "no route": (
        _raising(OSError(errno.EHOSTUNREACH, "No route to host")), "no route", r"ip route get 127\.0\.0\.1.*lab\.check$"
    ),
    "no name": (_unresolved, r"the name watts\.invalid does not resolve", r"IP address.*lab\.check$"),
    "key unknown": (lambda *_: None, r"host key of \[127\.0\.0\.1\]:\d+ is not known", TRUST),
    "key changed": (_changed, r"host key of 127\.0\.0\.1 has changed", r"find out why; .*lab\.trust 127\.0\.0\.1$"),
    "jump host's key unknown": (_jump, r"does not know the host key of \[127\.0\.0\.1\]:\d+", TRUST),
    "login refused": (
        _another_key, "the host refuses the login of alice with the key",
        r"next: ssh-copy-id -i \S+/other\.pub -p \d+ alice@127\.0\.0\.1 && invoke lab\.check$",
    ),
    "password of sudo missing": (
        _password, r"sudo's password of alice on 127\.0\.0\.1", r"next: read -rs HARDWATT_SUDO_PASSWORD && export HARD",
    ),
}  # fmt: skip


def test_every_task_is_known_to_concern_the_host_or_not() -> None:
    assert set(tasks.ns.task_names) == {*CONCERNED, *WITHOUT_ROOT, *ELSEWHERE}
    assert not set(CONCERNED) & set(WITHOUT_ROOT)


@pytest.mark.parametrize("task", MAIN)
@pytest.mark.parametrize("case", CASES)
def test_a_host_that_cannot_be_used_is_named_with_the_reason_and_the_next_command(
    target: Target, monkeypatch: pytest.MonkeyPatch, case: str, task: str
) -> None:
    arrange, reason, following = CASES[case]
    arrange(target, monkeypatch)
    code, text = target.run(CONCERNED[task])
    assert code == 1
    assert target.place in text
    assert re.search(reason, text), text
    assert re.search(following, text.strip(), re.MULTILINE), text
    assert "no problems" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("task", MAIN)
def test_a_host_without_an_address_is_told_before_anything_is_built(target: Target, task: str) -> None:
    target.host["address"] = ""
    code, text = target.run(CONCERNED[task])
    assert code == 1
    assert 'machine = "ssh" needs a host' in text
    assert text.strip().endswith("set address in [host] of lab.toml; then invoke lab.check")


@pytest.mark.parametrize("task", sorted(set(CONCERNED) - set(MAIN) | set(WITHOUT_ROOT)))
def test_no_other_task_goes_past_an_unknown_key(target: Target, task: str) -> None:
    code, text = target.run({**CONCERNED, **WITHOUT_ROOT}[task])
    assert code == 1
    assert re.search(TRUST, text.strip(), re.MULTILINE), text
    assert fingerprint(target.server.host_key) in text


def test_json_of_a_check_that_could_not_be_made_is_no_empty_list(target: Target) -> None:
    code, text = target.run(command("lab.check", as_json=True))
    assert code == 1
    (problem,) = json.loads(text)
    assert problem.keys() == {"severity", "name", "what", "remedy"}
    assert (problem["severity"], problem["remedy"]) == ("error", "invoke lab.trust 127.0.0.1")


@pytest.mark.parametrize("changed", [False, True])
def test_the_next_command_of_an_unknown_or_changed_key_leads_on(
    target: Target, monkeypatch: pytest.MonkeyPatch, changed: bool
) -> None:
    if changed:
        target.know(paramiko.ECDSAKey.generate())
    code, text = target.run(CONCERNED["lab.check"])
    assert code == 1
    name = text.strip().rpartition("invoke lab.trust ")[2]
    printed = fingerprint(target.server.host_key)
    assert target.run(command("lab.trust", host=name, fingerprint=printed)) == (
        0, f"known now: {printed}\nnext: invoke lab.check\n",
    )  # fmt: skip
    monkeypatch.setattr(inspect, "_problems", lambda _: [])
    assert target.run(CONCERNED["lab.check"]) == (0, "no problems\n")


def test_the_order_of_the_readme_is_the_one_that_each_command_names(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = (ROOT / "README.md").read_text().partition("## On real hardware")[2].split("```")[1]
    order = [line.partition("#")[0].strip() for line in block.strip().splitlines()]
    start = order.index("invoke lab.trust 192.0.2.10")
    assert order[start + 1].startswith("ssh-copy-id -i .lab/*/keys/ssh.pub root@")
    names = ("lab.check", "mirror.fill", "lab.plan", "lab.up")
    assert order[start + 2 : start + 6] == [f"invoke {name}" for name in names]
    printed = fingerprint(target.server.host_key)
    target.host["key"] = ""
    _, text = target.run(command("lab.trust", host="127.0.0.1", fingerprint=printed))
    following = text.partition("next: ")[2].strip()
    assert following.startswith("ssh-copy-id ") and following.endswith(" && invoke lab.check")
    target.server.user_key = paramiko.Ed25519Key.from_private_key_file(str(target.lab.keys / "ssh"))
    monkeypatch.setattr(inspect, "_problems", lambda _: [])
    assert target.run(CONCERNED["lab.check"]) == (0, "no problems\n")
    assert target.run(CONCERNED["lab.plan"])[1].endswith("next: invoke mirror.fill && invoke lab.plan\n")


def test_trust_without_a_fingerprint_names_a_command_with_one(target: Target) -> None:
    code, text = target.run(command("lab.trust", host="127.0.0.1"))
    assert code == 1
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ecdsa_key.pub" in text
    assert text.endswith("next: invoke lab.trust 127.0.0.1 --fingerprint SHA256:...\n")


def test_trust_says_how_the_labs_own_key_gets_in(target: Target) -> None:
    target.host["key"] = ""
    _, text = target.run(command("lab.trust", host="127.0.0.1", fingerprint=fingerprint(target.server.host_key)))
    words = shlex.split(text.partition("next: ")[2])
    assert words[:3] == ["ssh-copy-id", "-i", str(target.lab.keys / "ssh.pub")]
    assert Path(words[2]).exists()
    assert words[3:8] == ["-p", str(target.server.port), "root@127.0.0.1", "&&", "invoke"]


@pytest.mark.parametrize("jump", [False, True])
def test_trust_of_a_host_that_does_not_answer_says_why(
    target: Target, monkeypatch: pytest.MonkeyPatch, jump: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    target.host |= {"address": "192.0.2.10", "jump": f"hop@127.0.0.1:{port}"} if jump else {"port": port}
    code, text = target.run(command("lab.trust", host="127.0.0.1"))
    assert code == 1
    assert f"127.0.0.1:{port}: connection refused" in text
    assert ("jump in [host]" if jump else "port in [host]") in text


def test_behind_a_jump_host_the_one_that_is_in_the_way_is_named(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    _jump(target, monkeypatch)
    code, text = target.run(command("lab.trust", host="192.0.2.10"))
    assert code == 1
    assert text.endswith("next: invoke lab.trust 127.0.0.1\n")
    key = target.server.host_key
    target.know(key)
    with target.lab.known_hosts.open("a") as file:
        file.write(f"192.0.2.10 {key.get_name()} {key.get_base64()}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with target.lab.known_hosts.open("a") as file:
        file.write(f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n")
    target.host["jump"] = f"hop@127.0.0.1:{port}"
    code, text = target.run(CONCERNED["lab.check"])
    assert code == 1
    assert f"no SSH to hop@127.0.0.1:{port}: connection refused" in text
    assert "the jump host of root@192.0.2.10:22" in text
    paramiko.ECDSAKey.generate().write_private_key_file(str(target.folder / "other"))
    target.host |= {"key": str(target.folder / "other"), "jump": f"hop@127.0.0.1:{target.server.port}"}
    code, text = target.run(CONCERNED["lab.check"])
    assert code == 1
    assert "refuses the login of hop" in text
    assert re.search(rf"ssh-copy-id -i \S+/other\.pub -p {target.server.port} hop@127\.0\.0\.1 && invoke", text)


def test_an_encrypted_key_is_told_from_a_refused_login(target: Target) -> None:
    target.know(target.server.host_key)
    target.server.user_key.write_private_key_file(str(target.folder / "key"), password="correct horse")
    code, text = target.run(CONCERNED["lab.check"])
    assert code == 1
    assert "is encrypted" in text
    assert 'set key = "" in [host]' in text


def test_a_file_that_is_no_key_is_named(target: Target) -> None:
    target.know(target.server.host_key)
    (target.folder / "key").write_text("nonsense")
    code, text = target.run(CONCERNED["lab.check"])
    assert code == 1
    assert f"no SSH to root@127.0.0.1:{target.server.port}: the key {target.folder}/key cannot be used" in text
    target.host["key"] = str(target.folder / "none")
    code, text = target.run(CONCERNED["lab.check"])
    assert code == 1
    assert f"the key file {target.folder}/none for root@127.0.0.1 does not exist" in text
    assert text.endswith("correct key in [host] of lab.toml; then invoke lab.check\n")


@pytest.mark.parametrize(
    ("greeting", "reason"),
    [(b"220 mail.example.org ESMTP\r\n" * 200, "it is not an SSH server"), (b"", "no SSH server greets")],
)
def test_a_server_that_does_not_speak_ssh_is_named(target: Target, greeting: bytes, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target.host["port"] = listener.getsockname()[1]

        def speak() -> None:
            connection = listener.accept()[0]
            connection.sendall(greeting)
            connection.close()

        thread = threading.Thread(target=speak)
        thread.start()
        code, text = target.run(CONCERNED["lab.check"])
        thread.join()
    assert code == 1
    assert reason in text
    assert "port in [host]" in text


def test_a_host_that_answers_is_judged(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.know(target.server.host_key)
    checked: list[str] = []
    problem = Problem("error", "swap", "swap is on", "swapoff --all")

    def look(mine: Lab) -> list[Problem]:
        checked.append(mine.settings.host.address)
        return [problem]

    monkeypatch.setattr(runner, "check", look)
    code, text = target.run(CONCERNED["lab.check"])
    assert code == 1
    assert checked == ["127.0.0.1"]
    assert "swap is on" in text
    code, text = target.run(CONCERNED["lab.plan"])
    assert code == 0
    assert "mirror: would download or build tool kubectl" in text
    assert text.endswith("next: invoke mirror.fill && invoke lab.plan\n")
    code, text = target.run(CONCERNED["lab.status"])
    assert code == 1
    assert "ssh machine running 127.0.0.1" in text
    assert text.endswith("next: invoke lab.up\n")
    code, text = target.run(WITHOUT_ROOT["meter.status"])
    assert code == 1
    assert "written nothing yet" in text
    assert text.endswith("next: invoke lab.up\n")


def test_a_lost_host_is_named_by_what_ends_a_lab(target: Target) -> None:
    code, text = target.run(command("lab.down", yes=True))
    assert code == 0, "nothing was ever done there"
    assert "the host is not locked: the host key of" in text
    write_json(node_data.node_file(target.lab), {})
    for task in (command("lab.down", yes=True), command("lab.machine.destroy", yes=True)):
        code, text = target.run(task)
        assert code == 1
        assert "the host 127.0.0.1 is not reached, so nothing on it can be undone: the host key of" in text
        assert "next: invoke lab.trust 127.0.0.1; or, if the host is gone for good, remove" in text
        assert node_data.node_file(target.lab).exists()
    code, text = target.run(command("experiment.abandon"))
    assert code == 1
    assert "the host is not locked: the host key of" in text
    assert "no experiment is unfinished" in text


def test_the_counters_are_the_hosts_and_the_heading_says_so(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.know(target.server.host_key)
    zone = target.folder / "host/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in {"name": "package-0", "max_energy_range_uj": "262143328850", "energy_uj": "5"}.items():
        (zone / name).write_text(f"{text}\n")
    monkeypatch.setattr("hardwatt.meter.show.NODE_ROOTS", (str(target.folder / "host"),))
    code, text = target.run(CONCERNED["meter.list"])
    assert code == 0
    assert text.startswith("energy counters of the host 127.0.0.1\n")
    assert "intel-rapl:0" in text
    assert "stands still" in text
    zone.rename(target.folder / "gone")
    code, text = target.run(CONCERNED["meter.list"])
    assert code == 1
    assert "the host 127.0.0.1 has no powercap zone" in text


def test_the_power_model_is_chosen_for_the_hosts_processor(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    target.know(target.server.host_key)
    info = "vendor_id : GenuineIntel\ncpu family : 6\nmodel : 106\nstepping : 6\nmodel name : Xeon"
    script = f"echo debian; echo 96; echo; echo; echo '{info}'"
    monkeypatch.setattr("hardwatt.provision.node_data._PROCESSOR", script)
    code, text = target.run(command("meter.model", action="show", name="auto"))
    assert code == 0
    assert "with 96 CPUs, as the host 127.0.0.1 has" in text
    assert text.startswith("intel-ice-lake")
