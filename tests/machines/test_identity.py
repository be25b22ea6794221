"""Keys of a lab, the host keys that it knows, and its name."""

from pathlib import Path

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings, parse
from hardwatt.machines import identity


def lab(tmp_path: Path, name: str = "t1", **more: object) -> Lab:
    settings = parse(Settings, {"name": name, **more}, "test")
    return Lab(settings, tmp_path, tmp_path / ".lab" / name)


def test_keys_are_made_once_and_private(tmp_path: Path) -> None:
    mine = lab(tmp_path)
    path = identity.ensure_key(mine, "ssh")
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert mine.keys.stat().st_mode & 0o777 == 0o700
    assert identity.ensure_key(mine, "ssh").read_text() == text
    assert path.with_name("ssh.pub").read_text().startswith("ssh-ed25519 ")
    assert sorted(p.name for p in mine.keys.iterdir()) == ["ssh", "ssh.pub"]


def test_a_new_host_key_replaces_the_old_one_and_no_other(tmp_path: Path) -> None:
    mine = lab(tmp_path)
    identity.learn(mine, "192.0.2.7", "ssh-ed25519 THEIRS comment")
    identity.learn(mine, "10.77.0.2", "ssh-ed25519 OLD comment")
    identity.learn(mine, "10.77.0.2", "ssh-ed25519 NEW comment")
    lines = mine.known_hosts.read_text().splitlines()
    assert lines == ["192.0.2.7,[192.0.2.7]:2222 ssh-ed25519 THEIRS", "10.77.0.2,[10.77.0.2]:2222 ssh-ed25519 NEW"]
    identity.forget(mine, "10.77.0.2")
    assert mine.known_hosts.read_text().splitlines() == lines[:1]


def test_labs_of_one_name_in_two_checkouts_differ(tmp_path: Path) -> None:
    idents = {identity.ident(lab(tmp_path / checkout)) for checkout in ("a", "b")}
    assert len(idents) == 2
    assert all(len(ident) == 8 for ident in idents)
