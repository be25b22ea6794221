import stat
from pathlib import Path

import paramiko
import pytest

from hardwatt.config.lab import Lab
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError
from hardwatt.provision import git_keys

HOST_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"


def endpoint(tmp_path: Path, known: str, port: int = 22) -> Endpoint:
    known_hosts = tmp_path / "known_hosts"
    if known:
        known_hosts.write_text(known)
    return Endpoint("n", "embedded", "10.77.0.2", port, "root", tmp_path / "key", known_hosts, "10.77.0.1", "10.77.0.2")


def test_keys_are_made_once_and_for_the_user_alone(lab: Lab) -> None:
    first = git_keys.ensure(lab)
    assert first == git_keys.ensure(lab)
    assert set(first) == {"controller", "flux", "runner"}
    for name, public in first.items():
        path = git_keys.path(lab, name)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert public == f"ssh-ed25519 {paramiko.Ed25519Key.from_private_key_file(str(path)).get_base64()}"
    assert stat.S_IMODE(lab.keys.stat().st_mode) == 0o700


def test_the_node_learns_public_keys_only(lab: Lab) -> None:
    data = git_keys.node_data(lab).to_dict()
    assert "PRIVATE" not in str(data)
    assert set(data["git_keys"]) == set(data["git_access"])


def test_flux_and_the_runner_only_read() -> None:
    assert set(git_keys.ACCESS["flux"].values()) == {"ro"}
    assert set(git_keys.ACCESS["runner"].values()) == {"ro"}


@pytest.mark.parametrize(
    ("known", "port"),
    [(f"10.77.0.2 ssh-ed25519 {HOST_KEY}\n", 22), (f"[10.77.0.2]:2200 ssh-ed25519 {HOST_KEY}\n", 2200)],
)
def test_the_git_servers_host_key_is_the_nodes(tmp_path: Path, known: str, port: int) -> None:
    remote = git_keys.remote(endpoint(tmp_path, known, port))
    assert remote.known_host == f"[10.77.0.2]:2222 ssh-ed25519 {HOST_KEY}"
    assert remote.url("lab") == "ssh://git@10.77.0.2:2222/srv/git/lab.git"


@pytest.mark.parametrize("known", ["", f"10.77.0.3 ssh-ed25519 {HOST_KEY}\n"])
def test_an_unknown_host_is_refused(tmp_path: Path, known: str) -> None:
    with pytest.raises(LabError, match=r"no ed25519 host key of 10\.77\.0\.2") as caught:
        git_keys.remote(endpoint(tmp_path, known))
    assert caught.value.hint == "invoke lab.trust 10.77.0.2"


def test_ssh_checks_the_host_key_and_offers_one_key() -> None:
    command = git_keys.ssh_command(Path("/k y"), Path("/kh"))
    for part in (
        "StrictHostKeyChecking=yes",
        "UserKnownHostsFile=/kh",
        "IdentitiesOnly=yes",
        """'IdentityFile="/k y"'""",
        "BatchMode=yes",
    ):
        assert part in command
    assert "accept-new" not in command
