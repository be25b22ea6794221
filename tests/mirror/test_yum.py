"""rpms and their signed repository, with the real nfpm, createrepo_c, gpg, rpm and dnf on tiny binaries."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hardwatt.core import files, process
from hardwatt.core.errors import CommandError
from hardwatt.mirror import apt, debs, rpm_versions, yum
from hardwatt.mirror.httpd import Handler, Server
from hardwatt.mirror.index import Artefact
from tests.mirror.test_packages import VERSION, package

NEVRAS = {
    "containerd.io-2.3.4-1.lab.1.x86_64",
    "kubeadm-1.36.3-1.lab.1.x86_64",
    "kubectl-1.36.3-1.lab.1.x86_64",
    "kubelet-1.36.3-1.lab.1.x86_64",
}
"""As upstream's names, and a release that says whose they are."""


def artefacts(root: Path, version: str = VERSION, content: str = "") -> list[Artefact]:
    """Make the mirror's packages of tiny programs."""
    made = []
    for name in debs.RECIPES:
        its = "2.3.4+lab.1" if name == "containerd.io" else version
        path = root / "debs" / debs.file_name(name, its, "amd64")
        package(name, root / "bin", path, content)
        digest = files.sha256(path)
        relative = str(path.relative_to(root))
        made.append(Artefact(name, "package", "node", its, "built", "", f"sha256:{digest}", relative, ""))
    return made


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    assert yum.publish(root, artefacts(root), "amd64")
    return root


def test_versions_of_the_mirror_as_rpm_has_them() -> None:
    assert rpm_versions.evr("1.36.3+lab.1") == "1.36.3-1.lab.1"
    assert rpm_versions.version_release("2.3.4+lab.12") == ("2.3.4", "1.lab.12")


def test_packages_have_upstreams_names_and_a_signature_each(mirror: Path) -> None:
    place = mirror / "apt" / "rpm"
    assert {path.name.removesuffix(".rpm") for path in place.glob("*.rpm")} == NEVRAS
    database = mirror / "rpmdb"
    process.run(["rpmkeys", "--dbpath", database, "--import", apt.public_key(mirror)])
    for path in place.glob("*.rpm"):
        said = process.run(["rpmkeys", "--dbpath", database, "--checksig", "--verbose", path]).stdout
        assert said.count("RSA/SHA256 Signature") == 2  # of the header, and of header and payload
        assert "NOKEY" not in said
        assert "BAD" not in said


def test_what_el_has_elsewhere_is_where_el_has_it(mirror: Path) -> None:
    rpm = mirror / "apt" / "rpm" / "kubeadm-1.36.3-1.lab.1.x86_64.rpm"
    listing = process.run(["rpm", "-qlp", "--nosignature", rpm]).stdout
    assert "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf\n" in listing
    content = subprocess.run(["rpm2cpio", rpm], check=True, capture_output=True).stdout
    assert b"EnvironmentFile=-/etc/sysconfig/kubelet\n" in content
    assert b"/etc/default" not in content


def test_rpms_ask_for_what_el_calls_by_other_names(mirror: Path) -> None:
    def requires(name: str) -> str:
        rpm = next((mirror / "apt" / "rpm").glob(f"{name}-*.rpm"))
        return process.run(["rpm", "-qp", "--nosignature", "--requires", rpm]).stdout

    assert "container-selinux\nrunc\n" in requires("containerd.io")
    assert "iptables >= 1.4.21\n" in requires("kubelet")
    assert "containernetworking-plugins" not in requires("kubelet")


def test_nothing_changes_the_second_time_and_a_changed_package_is_made_anew(mirror: Path) -> None:
    place = mirror / "apt" / "rpm"
    before = (place / "repodata" / "repomd.xml.asc").read_bytes()
    assert not yum.publish(mirror, artefacts(mirror), "amd64")
    assert (place / "repodata" / "repomd.xml.asc").read_bytes() == before
    (place / "repodata" / "repomd.xml").unlink()
    (place / ".made-of").unlink()  # as a kill in mid-way would leave it
    assert yum.publish(mirror, artefacts(mirror), "amd64")
    assert ElementTree.parse(place / "repodata" / "repomd.xml").getroot().tag.endswith("repomd")
    assert [path.name for path in place.parent.iterdir() if path.name.startswith("rpm")] == ["rpm"]


@pytest.fixture
def address(mirror: Path) -> Iterator[str]:
    folder = str(mirror / "apt")
    server = Server(("127.0.0.1", 0), lambda *given: Handler(*given, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{rpm_versions.FOLDER}"
    server.shutdown()
    thread.join()
    server.server_close()


def dnf(folder: Path, address: str, key: Path, *arguments: str) -> process.Result:
    """Run the real dnf with nothing of the machine's: no root, its cache in ``folder``."""
    repository = folder / "repos" / "hardwatt.repo"
    files.write_atomic(repository, (
        f"[hardwatt]\nname=hardwatt\nbaseurl={address}\nenabled=1\nskip_if_unavailable=0\ngpgcheck=1\nrepo_gpgcheck=1\n"
        f"gpgkey=file://{key}\nproxy=_none_\nexclude=kubelet kubeadm kubectl containerd.io\n"
    ))  # fmt: skip
    (folder / "log").mkdir(exist_ok=True)
    options = {
        "reposdir": repository.parent, "cachedir": folder / "cache", "persistdir": folder / "state",
        "logdir": folder / "log", "pluginpath": folder / "none",
    }  # fmt: skip
    argv = ["dnf", "--assumeyes", "--releasever=8", f"--installroot={folder / 'root'}"]
    argv += [*(f"--setopt={name}={value}" for name, value in options.items()), *arguments]
    return process.run(argv, env={"HOME": str(folder)}, timeout=60)


def test_dnf_finds_the_pinned_packages_behind_their_exclude(mirror: Path, address: str, tmp_path: Path) -> None:
    ask = ("repoquery", "--quiet", "--queryformat=%{name}-%{evr}.%{arch}")
    assert dnf(tmp_path, address, apt.public_key(mirror), *ask).stdout.split() == []
    found = dnf(tmp_path, address, apt.public_key(mirror), "--disableexcludes=hardwatt", *ask).stdout
    assert set(found.split()) == NEVRAS


def test_dnf_refuses_an_index_that_another_key_signed(mirror: Path, address: str, tmp_path: Path) -> None:
    other = apt.ensure_key(tmp_path / "other")
    with pytest.raises(CommandError, match="GPG signature verification error"):
        dnf(tmp_path, address, other, "repoquery")


def test_dnf_refuses_a_changed_index(mirror: Path, address: str, tmp_path: Path) -> None:
    repomd = mirror / "apt" / "rpm" / "repodata" / "repomd.xml"
    right = repomd.read_text()
    repomd.write_text(right.replace("<revision>", "<revision>1"))
    try:
        with pytest.raises(CommandError, match="GPG signature verification error"):
            dnf(tmp_path, address, apt.public_key(mirror), "repoquery")
    finally:
        repomd.write_text(right)


def test_the_fingerprint_is_the_keys_own(mirror: Path, tmp_path: Path) -> None:
    found = apt.fingerprint(apt.public_key(mirror))
    assert len(found) == 40
    assert not set(found) - set("0123456789ABCDEF")
    process.run(["rpmkeys", "--dbpath", tmp_path, "--import", apt.public_key(mirror)])
    said = process.run(["rpm", "--dbpath", tmp_path, "-q", "gpg-pubkey"]).stdout
    assert said.startswith(f"gpg-pubkey-{found[-8:].lower()}-")
