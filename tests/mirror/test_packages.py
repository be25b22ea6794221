"""Packages and their signed repository, with the real nfpm, apt and gpg on tiny binaries."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.core import process
from hardwatt.core.errors import CommandError
from hardwatt.mirror import apt, debs
from hardwatt.mirror.httpd import Handler, Server

VERSION = "1.36.3+lab.1"


def package(name: str, folder: Path, target: Path, content: str = "") -> Path:
    """Make a package of tiny programs."""
    folder.mkdir(parents=True, exist_ok=True)
    binaries = {}
    for binary in debs.RECIPES[name].binaries:
        binaries[binary] = folder / binary
        binaries[binary].write_text(f"#!/bin/sh\necho {binary} {content}\n")
    debs.make(name, VERSION, "amd64", binaries, target)
    return target


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    made = [
        package(name, root / "bin", root / "debs" / debs.file_name(name, VERSION, "amd64")) for name in debs.RECIPES
    ]
    assert apt.publish(root, made, "amd64")
    return root


def test_the_same_binaries_give_the_same_package(tmp_path: Path) -> None:
    one = package("kubelet", tmp_path / "a", tmp_path / "1.deb")
    two = package("kubelet", tmp_path / "b", tmp_path / "2.deb")
    other = package("kubelet", tmp_path / "c", tmp_path / "3.deb", "other")
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes() != other.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.deb", "2.deb", "3.deb", "a", "b", "c"]


def test_packages_have_upstreams_names_units_and_paths(mirror: Path) -> None:
    def listing(name: str) -> str:
        return process.run(["dpkg-deb", "-c", mirror / "debs" / debs.file_name(name, VERSION, "amd64")]).stdout

    assert "./usr/bin/kubelet\n" in listing("kubelet")
    assert "./usr/lib/systemd/system/kubelet.service\n" in listing("kubelet")
    assert "./usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf\n" in listing("kubeadm")
    assert "./usr/lib/systemd/system/containerd.service\n" in listing("containerd.io")
    assert "root/root" in listing("kubectl")


def test_the_drop_in_is_what_kubeadm_counts_on() -> None:
    text = (debs.UNITS / "10-kubeadm.conf").read_text()
    assert "EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env" in text
    assert "EnvironmentFile=-/etc/default/kubelet" in text
    assert text.rstrip().endswith("$KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS")


def test_nothing_changes_the_second_time(mirror: Path) -> None:
    before = (mirror / "apt" / "dists" / "stable" / "InRelease").read_bytes()
    assert not apt.publish(mirror, sorted((mirror / "debs").iterdir()), "amd64")
    assert (mirror / "apt" / "dists" / "stable" / "InRelease").read_bytes() == before


def test_the_private_key_stays_private(mirror: Path) -> None:
    assert (mirror / "keys" / "private.asc").stat().st_mode & 0o777 == 0o600
    assert list((mirror / "keys").iterdir()) == [mirror / "keys" / "private.asc"]
    served = [path for path in (mirror / "apt").rglob("*") if path.is_file()]
    assert served
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in served)


@pytest.fixture
def address(mirror: Path) -> Iterator[str]:
    server = Server(("127.0.0.1", 0), lambda *given: Handler(*given, directory=str(mirror / "apt")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def apt_get(folder: Path, line: str, *arguments: str) -> process.Result:
    """Run the machine's apt with a system of its own in ``folder``: no root, nothing of the machine's."""
    for name in ("etc/apt/preferences.d", "state/lists/partial", "cache/archives/partial", "keys"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"{line}\n")
    (folder / "status").write_text("")
    options = {
        "Dir::Etc": folder / "etc/apt", "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null", "Dir::Etc::TrustedParts": folder / "keys",
        "Dir::State": folder / "state", "Dir::State::status": folder / "status", "Dir::Cache": folder / "cache",
        "APT::Architecture": "amd64", "APT::Sandbox::User": "", "Acquire::http::Proxy": "DIRECT",
        "APT::Update::Error-Mode": "any",
    }  # fmt: skip
    argv = ["apt-get", *(f"-o{name}={value}" for name, value in options.items()), *arguments]
    return process.run(argv, cwd=folder, timeout=60)


def test_apt_takes_packages_that_the_key_signed(mirror: Path, address: str, tmp_path: Path) -> None:
    line = f"deb [arch=amd64 signed-by={apt.public_key(mirror)}] {address} stable main"
    apt_get(tmp_path, line, "update")
    apt_get(tmp_path, line, "download", f"kubelet={VERSION}")
    fetched = next(tmp_path.glob("kubelet_*.deb"))
    assert fetched.read_bytes() == (mirror / "debs" / debs.file_name("kubelet", VERSION, "amd64")).read_bytes()


def test_apt_refuses_what_another_key_signed(mirror: Path, address: str, tmp_path: Path) -> None:
    other = apt.ensure_key(tmp_path / "other")
    with pytest.raises(CommandError, match=r"not signed|NO_PUBKEY"):
        apt_get(tmp_path, f"deb [arch=amd64 signed-by={other}] {address} stable main", "update")


def test_apt_refuses_a_changed_index(mirror: Path, address: str, tmp_path: Path) -> None:
    packages = mirror / "apt" / "dists" / "stable" / "main" / "binary-amd64" / "Packages"
    right = packages.read_text()
    packages.write_text(right.replace("Version: 1.36.3", "Version: 1.36.4"))
    try:
        with pytest.raises(CommandError, match="Hash Sum mismatch"):
            apt_get(tmp_path, f"deb [arch=amd64 signed-by={apt.public_key(mirror)}] {address} stable main", "update")
    finally:
        packages.write_text(right)


def test_the_server_shows_no_listings(mirror: Path, address: str) -> None:
    with pytest.raises(CommandError, match="404"):
        process.run(["curl", "--noproxy", "*", "-fsS", f"{address}/pool/"])


def test_a_changed_package_is_signed_anew(mirror: Path, tmp_path: Path) -> None:
    changed = package("kubectl", tmp_path / "bin", tmp_path / debs.file_name("kubectl", VERSION, "amd64"), "new")
    root = tmp_path / "mirror"
    assert apt.publish(root, [changed], "amd64")
    (root / "apt" / "dists" / "stable" / "Release").unlink()
    (root / "apt" / "dists" / ".made-of").unlink()  # as a kill in mid-way would leave it
    assert apt.publish(root, [changed], "amd64")
    assert (root / "apt" / "dists" / "stable" / "InRelease").read_text().startswith("-----BEGIN PGP SIGNED MESSAGE")
