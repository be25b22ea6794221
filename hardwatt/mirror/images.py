"""Contents of each image: it has upstream's name and is used as upstream's image is."""

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

from hardwatt.mirror import distro
from hardwatt.mirror.oci import Config, Entry, Layout

REVISION = 1
"""Raised when what is written below changes the content of images."""
NOBODY = 65534
_NOBODY = f"{NOBODY}:{NOBODY}"

# ssh and git look their user up.
_PASSWD = f"root:x:0:0:root:/root:/bin/sh\nnobody:x:{NOBODY}:{NOBODY}:nobody:/home/runner:/bin/sh\n".encode()
_GROUP = f"root:x:0:\nnogroup:x:{NOBODY}:\n".encode()
_TMP = Entry("/tmp", mode=0o1777)  # noqa: S108 (a folder in an image)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The content of an image and what it runs."""

    binaries: Mapping[str, str]
    """Path in the image to the binary's name."""
    config: Config
    entries: tuple[Entry, ...] = (_TMP,)
    packages: tuple[str, ...] = ()
    """Packages of the machine's distribution under the binaries."""
    certificates: bool = False


def _static(name: str, path: str, *, user: str = "") -> Recipe:
    return Recipe({path: name}, Config((path,), user=user))


def _local(name: str) -> Recipe:
    """Return a control-plane image: kubeadm's static pods call the name, found by PATH."""
    return _static(name, f"/usr/local/bin/{name}")


_NFT = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")

_RUNNER_PACKAGES = ("git", "openssh-client", "ca-certificates", "coreutils", "dash", "grep", "sed")
_RUNNER_FILES = (
    _TMP,
    Entry("/etc/passwd", _PASSWD, mode=0o644),
    Entry("/etc/group", _GROUP, mode=0o644),
    Entry("/home/runner", mode=0o755, owner=NOBODY),
)

RECIPES: Mapping[str, Recipe] = {
    "kube-apiserver": _local("kube-apiserver"),
    "kube-controller-manager": _local("kube-controller-manager"),
    "kube-scheduler": _local("kube-scheduler"),
    "kube-proxy": Recipe(
        {"/usr/local/bin/kube-proxy": "kube-proxy"},
        Config(("/usr/local/bin/kube-proxy",)),
        # The distribution makes these links when it installs iptables, and here nothing runs.
        (_TMP, *(Entry(f"/usr/sbin/{name}", link="xtables-nft-multi") for name in _NFT)),
        packages=("iptables", "nftables", "conntrack", "kmod"),
    ),
    "etcd": Recipe(
        {f"/usr/local/bin/{name}": name for name in ("etcd", "etcdctl", "etcdutl")},
        Config(("/usr/local/bin/etcd",)),
    ),
    "pause": _static("pause", "/pause", user="65535:65535"),
    "coredns": _static("coredns", "/coredns"),
    # Upstream's have tini, git and gnupg beside the controller, for remote bases and for keys of
    # SOPS; the lab uses neither, and the controllers reap no children without them.
    "source-controller": dataclasses.replace(
        _static("source-controller", "/usr/local/bin/source-controller", user=_NOBODY),
        certificates=True,
    ),
    "kustomize-controller": dataclasses.replace(
        _static("kustomize-controller", "/usr/local/bin/kustomize-controller", user=_NOBODY),
        certificates=True,
    ),
    "prometheus": Recipe(
        {"/bin/prometheus": "prometheus", "/bin/promtool": "promtool"},
        Config(
            ("/bin/prometheus",),
            user=_NOBODY,
            cmd=("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"),
            workdir="/prometheus",
        ),
        (_TMP, Entry("/prometheus", owner=NOBODY), Entry("/etc/prometheus", owner=NOBODY)),
    ),
    "node-exporter": _static("node_exporter", "/bin/node_exporter", user=_NOBODY),
    "runner": Recipe(
        {"/usr/local/bin/kubectl": "kubectl"},
        Config(("/bin/sh",), user=_NOBODY, env={"HOME": "/home/runner"}, workdir="/home/runner"),
        _RUNNER_FILES,
        packages=_RUNNER_PACKAGES,
        certificates=True,
    ),
    # The CI server that is always on: Buildbot's master and its worker are the distribution's packages,
    # one image for both, and what its jobs run is what the runner runs.
    "buildbot": Recipe(
        {"/usr/local/bin/kubectl": "kubectl"},
        Config(("/bin/sh",), user=_NOBODY, env={"HOME": "/home/runner"}, workdir="/home/runner"),
        _RUNNER_FILES,
        packages=(*_RUNNER_PACKAGES, "buildbot", "buildbot-worker"),
        certificates=True,
    ),
    "app": _static("app", "/app", user=_NOBODY),
}


def make(
    name: str, binaries: Mapping[str, Path], folder: Path, *,
    arch: str, reference: str, work: Path, log: Path,
) -> str:  # fmt: skip
    """Write the image as an OCI layout to ``folder`` and return its manifest's digest.

    It appears by a rename, whole. ``work`` is a folder for temporary files.
    """
    recipe = RECIPES[name]
    part = work / f"image-{name}"
    layout = Layout(part)
    layers = []
    if recipe.packages:
        tar = work / f"{name}.tar"
        distro.tree(recipe.packages, tar, work=work / "tree", log=log)
        layers.append(layout.add_tar(tar))
        tar.unlink()
    entries = list(recipe.entries)
    if recipe.certificates:
        entries.append(distro.certificates())
    entries += [Entry(path, binaries[binary]) for path, binary in recipe.binaries.items()]
    layers.append(layout.add_layer(entries))
    digest = layout.finish(layers, recipe.config, arch=arch, reference=reference)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return digest


def key(name: str) -> str:
    """Return what an image is made from beside its binaries."""
    recipe = RECIPES[name]
    parts = [str(REVISION), repr(recipe)]
    if recipe.packages:
        parts.append(distro.key(recipe.packages))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
