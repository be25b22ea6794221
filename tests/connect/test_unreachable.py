"""The next command after SSH to a node failed: it leads on, and is no other report of the same fault."""

import dataclasses
from pathlib import Path

import pytest

from hardwatt.connect import tunnels, unreachable
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import background
from hardwatt.core.errors import LabError

NODE = Endpoint("n", "embedded", "10.77.4.2", 22, "root", Path("/k/ssh key"), Path("/k/kh"), "10.77.4.1", "10.77.4.2")
FAR = dataclasses.replace(NODE, kind="ssh", address="198.51.100.7", jump="admin@192.0.2.9:2200", reverse=True)


@pytest.mark.parametrize("kind", ["embedded", "vm"])
@pytest.mark.parametrize("error", [TimeoutError("timed out"), ConnectionRefusedError(), OSError("odd")])
def test_a_machine_of_this_host_that_does_not_answer_is_booted_again(kind: str, error: OSError) -> None:
    explained = unreachable.explained(dataclasses.replace(NODE, kind=kind), error)
    assert explained.message.startswith("no SSH to root@10.77.4.2:22: ")
    assert explained.hint == "invoke lab.machine.stop && invoke lab.up"


def test_a_lost_key_of_a_machine_is_made_anew_with_it() -> None:
    lost = unreachable.bad_key(NODE, ValueError("not a key"))
    assert lost.hint == "rm -f '/k/ssh key' '/k/ssh key.pub' && invoke lab.down && invoke lab.up"
    assert unreachable.bad_key(FAR, ValueError("not a key")).hint.startswith('set key = "" in [host] of lab.toml')


@pytest.mark.parametrize("kind", ["socks", "reverse", "tunnel"])
def test_a_tunnel_that_fails_names_how_to_see_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def start(*_: object, hint: str, **__: object) -> None:
        raise LabError("ssh ended", hint=hint)

    monkeypatch.setattr(background, "start", start)
    log = tmp_path / "log"
    with pytest.raises(LabError) as caught:
        if kind == "tunnel":
            tunnels.tunnel(FAR, ["-N"], 1, log)
        else:
            (tunnels.socks(FAR, log) if kind == "socks" else tunnels.reverse(FAR, (8080,), log)).__enter__()
    command = "ssh -v -i '/k/ssh key' -J admin@192.0.2.9:2200 -p 22 root@198.51.100.7 true"
    assert caught.value.hint.partition("; ")[0] == command
