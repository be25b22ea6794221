"""The same packages as rpms, in a signed yum repository beside the apt one.

The rpms are made of the mirror's .deb files when a node first asks for them: the same binaries,
under upstream's names, whether they were downloaded, built or imported. The packages are signed
and the repository's index too, both with the mirror's key.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.core import files
from hardwatt.core.process import run
from hardwatt.core.progress import step
from hardwatt.mirror import apt, debs
from hardwatt.mirror.fill import held, load, mirror_root
from hardwatt.mirror.index import Artefact
from hardwatt.mirror.rpm_versions import FOLDER, evr, version_release

REVISION = 1
"""Raised when what is written below changes the content of rpms."""
_DEPENDS = {
    "kubelet": ["iptables >= 1.4.21", "util-linux"],
    # runc is the distribution's: one built from modules would lack seccomp
    "containerd.io": ["container-selinux", "runc"],
}
"""What the rpms ask for, by EL's names."""
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64"}


def config(name: str, version: str, arch: str, tree: Path, key: Path) -> dict[str, Any]:
    """Return nfpm's configuration of an rpm of what the .deb has unpacked in ``tree``."""
    number, release = version_release(version)
    recipe = debs.RECIPES[name]
    binaries = {binary: tree / "usr/bin" / binary for binary in recipe.binaries}
    settings = debs.config(name, number, arch, binaries)
    for item in settings["contents"]:
        unit = str(item["dst"]).removeprefix("/usr/lib/systemd/system/")
        if unit in recipe.units or unit.partition("/")[2] in recipe.units:
            item["src"] = str(tree / str(item["dst"]).lstrip("/"))
    settings.update(
        release=release,
        depends=_DEPENDS.get(name, []),
        scripts={"postinstall": str(debs.UNITS / "post.sh")} if recipe.units else {},
        rpm={
            "arch": _ARCHES[arch],
            "summary": recipe.description,
            "compression": "gzip:-1",  # the least work that every rpm can read
            "signature": {"key_file": str(key)},
        },
    )
    del settings["deb"]
    return settings


def ensure(lab: Lab) -> None:
    """Have the mirror of the lab serve what it holds as rpms too. Raises ``CommandError``."""
    root = mirror_root(lab)
    with held(root):
        packages = [
            artefact for artefact in load(lab).artefacts if artefact.kind == "package" and artefact.source != "upstream"
        ]
        with step("mirror: packages as rpms", folder=lab.dir) as current:
            current.changed(int(publish(root, packages, versions.machine_arch())))


def publish(root: Path, packages: Sequence[Artefact], arch: str) -> bool:
    """Write the signed repository of ``packages`` under ``apt/rpm/``; return whether anything changed.

    It is made beside the old one and put in its place at the end. Raises ``CommandError``.
    """
    place, public = root / "apt" / FOLDER, apt.ensure_key(root)
    parts = [str(REVISION), arch, files.sha256(public), files.sha256(debs.UNITS / "post.sh"), repr(_DEPENDS)]
    parts += [f"{package.name} {package.version} {package.digest}" for package in packages]
    made_of = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    stamp = place / ".made-of"
    if stamp.exists() and stamp.read_text() == made_of:
        return False
    new, work = place.with_name(f"{FOLDER}.new"), root / "tmp" / FOLDER
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for package in packages:
        _make(root, package, arch, new, work)
    _index(root, new)
    files.write_atomic(new / ".made-of", made_of)
    shutil.rmtree(place, ignore_errors=True)
    new.rename(place)
    return True


def _make(root: Path, package: Artefact, arch: str, folder: Path, work: Path) -> None:
    """Make one rpm of a .deb, by way of its unpacked tree."""
    shutil.rmtree(work, ignore_errors=True)
    tree = work / "tree"
    work.mkdir(parents=True)
    run(["dpkg-deb", "--extract", root / package.path, tree], hint="make setup")
    for dropin in tree.glob("usr/lib/systemd/system/*.d/*.conf"):
        # where EL keeps what Debian has in /etc/default
        dropin.write_text(dropin.read_text().replace("/etc/default/", "/etc/sysconfig/"))
    settings = work / "nfpm.json"  # JSON is YAML too
    settings.write_text(json.dumps(config(package.name, package.version, arch, tree, apt.private_key(root))))
    target = folder / f"{package.name}-{evr(package.version)}.{_ARCHES[arch]}.rpm"
    run([debs.nfpm(), "package", "--packager", "rpm", "--config", settings, "--target", target], hint="make setup")
    shutil.rmtree(work)


def _index(root: Path, folder: Path) -> None:
    """Write and sign the repository's index; without the old index's cache, so nothing old stays."""
    run(["createrepo_c", "--quiet", "--no-database", folder], hint="make setup")
    repomd = folder / "repodata" / "repomd.xml"
    with apt.keyring(root) as gpg:
        gpg("--import", apt.private_key(root))
        gpg("--passphrase", "", "--armor", "--detach-sign", "--output", f"{repomd}.asc", repomd)
