"""Debian packages around binaries, under upstream's names and with upstream's units.

The same packages come of a download and of a build, so tests and users walk one road.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hardwatt.core import files
from hardwatt.core.process import run

UNITS = Path(__file__).with_name("units")
_SYSTEMD = "/usr/lib/systemd/system"
REVISION = 2
"""Raised when what is written below changes the content of packages."""
EPOCH = "2026-01-01T00:00:00Z"
"""The time that every file in a package has, so that the same binaries give the same package."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Contents of a package besides its binaries (which go to /usr/bin)."""

    description: str
    homepage: str
    binaries: tuple[str, ...]
    units: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """File in ``units/`` to its folder on the node."""
    depends: tuple[str, ...] = ()
    recommends: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


_KUBERNETES = "https://kubernetes.io"
RECIPES: Mapping[str, Recipe] = {
    "kubelet": Recipe(
        "Node agent for Kubernetes clusters", _KUBERNETES, ("kubelet",),
        units={"kubelet.service": _SYSTEMD},
        depends=("iptables (>= 1.4.21)", "kubernetes-cni | containernetworking-plugins", "mount", "util-linux"),
        folders=("/etc/kubernetes/manifests",),
    ),
    "kubeadm": Recipe(
        "Command-line utility for administering a Kubernetes cluster", _KUBERNETES, ("kubeadm",),
        units={"10-kubeadm.conf": f"{_SYSTEMD}/kubelet.service.d"},
        # Upstream depends on cri-tools; kubeadm works without, and it is not to be had from Go modules.
        recommends=("cri-tools",),
    ),
    "kubectl": Recipe(
        "Command-line utility for interacting with a Kubernetes cluster", _KUBERNETES, ("kubectl",),
    ),
    "containerd.io": Recipe(
        "An open and reliable container runtime", "https://containerd.io",
        ("containerd", "containerd-shim-runc-v2", "ctr"),
        units={"containerd.service": _SYSTEMD},
        # runc is the distribution's: one built from modules would lack seccomp.
        depends=("runc",), provides=("containerd",), conflicts=("containerd",), replaces=("containerd",),
        folders=("/etc/containerd",),
    ),
}  # fmt: skip


def nfpm() -> Path:
    """Return the packager that the set-up installed beside this Python."""
    return Path(sys.executable).with_name("nfpm")


def config(name: str, version: str, arch: str, binaries: Mapping[str, Path]) -> dict[str, Any]:
    """Return nfpm's configuration of a package."""
    recipe = RECIPES[name]
    contents: list[dict[str, Any]] = [
        {"src": str(binaries[binary]), "dst": f"/usr/bin/{binary}", "file_info": {"mode": 0o755, "mtime": EPOCH}}
        for binary in recipe.binaries
    ]
    contents += [
        {"src": str(UNITS / unit), "dst": f"{folder}/{unit}", "file_info": {"mode": 0o644, "mtime": EPOCH}}
        for unit, folder in recipe.units.items()
    ]
    contents += [{"dst": folder, "type": "dir", "file_info": {"mtime": EPOCH}} for folder in recipe.folders]
    return {
        "name": name, "version": version, "version_schema": "none", "arch": arch, "platform": "linux",
        "section": "admin", "priority": "optional", "maintainer": "hardwatt <hardwatt@localhost>",
        "disable_globbing": True,  # the folders above are the user's to name
        "description": recipe.description, "homepage": recipe.homepage, "license": "Apache-2.0",
        "mtime": EPOCH, "contents": contents, "depends": list(recipe.depends),
        "recommends": list(recipe.recommends), "provides": list(recipe.provides),
        "conflicts": list(recipe.conflicts),
        "replaces": list(recipe.replaces),
        "scripts": {"postinstall": str(UNITS / "postinst.sh")} if recipe.units else {},
        # A compressor costs more time on both sides than the few hops to a node beside the mirror.
        "deb": {"compression": "none"},
    }  # fmt: skip


def make(name: str, version: str, arch: str, binaries: Mapping[str, Path], target: Path) -> None:
    """Write the package to ``target`` (a .deb); the same input gives the same bytes.

    ``binaries`` maps each name of the recipe to its file. Raises ``CommandError``.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    settings = target.with_suffix(".nfpm.json")  # JSON is YAML too
    settings.write_text(json.dumps(config(name, version, arch, binaries)))
    run([nfpm(), "package", "--packager", "deb", "--config", settings, "--target", target], hint="make setup")
    settings.unlink()


def file_name(name: str, version: str, arch: str) -> str:
    """Return the package's file name as dpkg would give it."""
    return f"{name}_{version}_{arch}.deb"


def key(name: str) -> str:
    """Return what a package is made from beside its binaries."""
    recipe = RECIPES[name]
    scripts = [*recipe.units, "postinst.sh"] if recipe.units else []
    parts = [str(REVISION), repr(recipe), EPOCH, *(files.sha256(UNITS / script) for script in scripts)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
