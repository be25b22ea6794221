"""Root of a node cannot make the next start write on this host: a link in its tree is refused."""

from pathlib import Path

import pytest

from hardwatt.core.errors import RefusedError
from hardwatt.machines.embedded import node_files
from hardwatt.machines.embedded.network import Addresses

WHO = node_files.Identity("node", Addresses("10.77.0.0/24"), "private", "public", "authorized")


def tree(tmp_path: Path) -> Path:
    root = tmp_path / "node"
    for folder in ("etc/ssh", "etc/systemd/system", "etc/apt", "root", "usr/lib"):
        (root / folder).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    "place", ["etc", "etc/ssh", "etc/systemd", "etc/systemd/system", "etc/apt", "root", "root/.ssh", "usr", "usr/lib"]
)
@pytest.mark.parametrize("target", ["/", "relative"])
def test_a_link_in_place_of_a_folder_is_refused(tmp_path: Path, place: str, target: str) -> None:
    root, outside = tree(tmp_path), tmp_path / "outside"
    outside.mkdir()
    path = root / place
    if path.exists():
        path.rename(tmp_path / "moved")
    path.symlink_to(outside if target == "/" else Path("../" * len(path.relative_to(tmp_path).parts)) / "outside")
    with pytest.raises(RefusedError, match="is a link"):
        node_files.write(root, WHO)
    assert not any(outside.iterdir())


@pytest.mark.parametrize("place", ["etc/hostname", "root/.ssh/authorized_keys", "etc/ssh/ssh_host_ed25519_key"])
def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path, place: str) -> None:
    root, victim = tree(tmp_path), tmp_path / "victim"
    victim.write_text("theirs")
    (root / place).parent.mkdir(exist_ok=True)
    (root / place).symlink_to(victim)
    node_files.write(root, WHO)
    assert victim.read_text() == "theirs"
    assert not (root / place).is_symlink()
