"""A reboot between two runs of the deploys: announced, waited for, and not without end."""

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect import boot, ssh_routes, sudo
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError, RefusedError, WaitError
from hardwatt.core.process import Result
from hardwatt.lifecycle import up
from hardwatt.machines.lab_context import LabContext
from hardwatt.provision import reboot, runner
from hardwatt.provision.runner import DeployResult

END = Endpoint("n", "vm", "127.0.0.1", 40022, "lab", Path("/k"), Path("/kh"), "10.0.2.2", "10.0.2.15")


class Node:
    """A node that goes down after some looks at it, and comes back with another boot_id."""

    def __init__(self, *, stays_up: int = 2, states: tuple[str, ...] = ("running",)) -> None:
        self.ran: list[str] = []
        self.left, self.boot, self.states = stays_up, 1, list(states)
        self.refuses: Exception | None = None
        self.reason = ""

    def run(self, command: str, **_: object) -> Result:
        self.ran.append(command)
        free = sudo._FREE.format(rules=sudo.RULES, wanted=sudo._WANTED[0])
        answers: dict[str, Callable[[], str]] = {
            f"cat {boot.BOOT_ID}": self._boot_id,
            f"LC_ALL=C sudo -n sh -c {shlex.quote(free)} 2>&1": str,
            "sudo -n systemctl reboot": self._reboot,
            f"cat {reboot.REQUIRED}": lambda: self.reason,
            "systemctl is-system-running --wait": lambda: self.states.pop(0),
        }
        return Result(("ssh",), 0, answers[command](), "", 0.0)

    def _boot_id(self) -> str:
        if self.refuses:
            raise self.refuses
        return f"boot-{self.boot}\n"

    def _reboot(self) -> str:
        raise LabError("the connection broke off")

    def looked_at(self) -> bool:
        """One look at the SSH port: there for a while, gone once, then there again."""
        self.left -= 1
        if self.left == 0:
            self.boot += 1
            return False
        return True


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node()

    class Connection(contextlib.AbstractContextManager[Node]):
        def __init__(self, end: Endpoint, *, timeout: float = 10) -> None:
            assert end == END

        def __enter__(self) -> Node:
            return made

        def __exit__(self, *_: object) -> None:
            """Nothing is held."""

    monkeypatch.setattr(reboot, "Ssh", Connection)
    monkeypatch.setattr(sudo, "Ssh", Connection)
    monkeypatch.setattr(ssh_routes, "ssh_answers", lambda *_: made.looked_at())
    monkeypatch.setattr("hardwatt.core.wait.time.sleep", lambda _: None)
    return made


def test_a_reboot_is_over_when_another_boot_has_come_to_its_end(node: Node) -> None:
    node.states = ["starting", "degraded"]
    reboot.reboot(END)
    assert node.ran.count("sudo -n systemctl reboot") == 1
    assert node.boot == 2
    assert not node.states


def test_a_host_that_does_not_come_back_is_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reboot, "TIMEOUT", 0.0)
    with pytest.raises(WaitError, match="still going down") as caught:
        reboot.reboot(END)
    assert "console" in caught.value.hint


def test_another_host_key_after_the_reboot_stops_everything(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*_: object) -> bool:
        node.refuses = RefusedError("the host key of 127.0.0.1 has changed")
        return True

    monkeypatch.setattr(ssh_routes, "ssh_answers", answers)
    with pytest.raises(RefusedError, match="has changed"):
        reboot.reboot(END)


def test_the_reasons_are_read_from_the_node(node: Node) -> None:
    assert reboot.reasons(END) == []
    node.reason = "cgroup v2 is switched on\nanother kernel\n"
    assert reboot.reasons(END) == ["cgroup v2 is switched on", "another kernel"]


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch, node: Node) -> Iterator[list[DeployResult]]:
    """What the runs of the deploys end with, one after the other."""
    found: list[DeployResult] = []
    monkeypatch.setattr(runner, "apply", lambda _: found.pop(0))
    monkeypatch.setattr(up, "described", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr("hardwatt.provision.node_data.takes_rpms", lambda _: False)
    monkeypatch.setattr(LabContext, "index", None)
    monkeypatch.setattr(LabContext, "endpoint", END)
    monkeypatch.setattr(reboot, "reboot", lambda end: node.ran.append("reboot"))
    node.reason = "cgroup v2 is switched on\n"
    yield found
    assert not found, "the deploys ran less often than they should"


def state(tmp_path: Path) -> up.LabState:
    return up.LabState(Lab(Settings(name="t1"), tmp_path, tmp_path / ".lab/t1"))


def test_the_deploys_run_again_after_the_reboot_that_they_ask_for(
    tmp_path: Path, node: Node, outcomes: list[DeployResult], capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes += [DeployResult(["Boot arguments"], 3, waits=True), DeployResult(["kubeadm init"], 40)]
    now = state(tmp_path)
    up._node(now)
    assert now.changes == ["Boot arguments", "rebooted: cgroup v2 is switched on", "kubeadm init"]
    assert node.ran.count("reboot") == 1
    assert "cgroup v2 is switched on" in capsys.readouterr().err, "it is announced with its reason"


def test_a_run_without_a_wish_reboots_nothing(tmp_path: Path, node: Node, outcomes: list[DeployResult]) -> None:
    outcomes += [DeployResult([], 40)]
    now = state(tmp_path)
    up._node(now)
    assert now.changes == []
    assert "reboot" not in node.ran


def test_a_node_that_always_wants_another_reboot_is_an_error(
    tmp_path: Path, node: Node, outcomes: list[DeployResult]
) -> None:
    outcomes += [DeployResult([], 3, waits=True)] * (up.REBOOTS + 1)
    with pytest.raises(LabError, match="yet another reboot after 2: cgroup v2"):
        up._node(state(tmp_path))
    assert node.ran.count("reboot") == up.REBOOTS
