"""Packages and images that a node is told to install, and the repositories and registries that they come from."""

import dataclasses

from deploys import contract
from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.mirror import apt, rpm_versions
from hardwatt.mirror.index import Image, Index
from hardwatt.mirror.served import Served

KUBERNETES = ("kubeadm", "kubectl", "kubelet")
DISTRIBUTION = (
    "conntrack", "containernetworking-plugins", "ethtool", "iproute2", "iptables", "kmod", "mount", "python3", "runc",
    "socat",
)  # fmt: skip
"""Tools that the packages of Kubernetes and containerd use but do not depend on (Debian's names)."""
EL_DISTRIBUTION = (
    "conntrack-tools", "container-selinux", "containernetworking-plugins", "ethtool", "iproute", "iproute-tc",
    "iptables", "kmod", "python3", "runc", "socat", "tar", "util-linux",
)  # fmt: skip
"""The same by the names of RHEL and its relatives."""
OWN_REGISTRY = "hardwatt.dev"
"""The name under which images stand that this repository makes; nothing answers there."""
SERVERS = {"docker.io": "registry-1.docker.io"}
"""Registries whose server has another name than their images."""


def from_upstream(index: Index) -> bool:
    """Return whether the node takes its packages from upstream's own repositories."""
    return any(artefact.source == "upstream" and artefact.kind == "package" for artefact in index.artefacts)


def distribution(index: Index, *, rpms: bool) -> tuple[str, ...]:
    """Return the distribution's packages; upstream's containerd and kubelet bring runc and plugins themselves."""
    names = EL_DISTRIBUTION if rpms else DISTRIBUTION
    brought = {"containernetworking-plugins", "runc"} if from_upstream(index) else set()
    return tuple(name for name in names if name not in brought)


@dataclasses.dataclass(frozen=True)
class Content:
    """The fields of ``contract.Lab`` that say what is installed."""

    packages: contract.Packages
    images: contract.Images
    kubernetes_version: str
    pause: str = ""
    etcd_tag: str = ""
    dns_tag: str = ""


def content(preset: str, index: Index, *, rpms: bool) -> Content:
    """Return packages and images; versions come from the index alone, those of preset legacy from the lock."""
    debs = index.debs
    if preset == "legacy":
        return _legacy(index)
    pause = index.image("pause")
    of_node = rpm_versions.evr if rpms and not from_upstream(index) else str
    return Content(
        packages=contract.Packages(
            containerd={name: of_node(debs[name]) for name in debs if name.startswith("containerd")},
            kubernetes={name: of_node(index.get("package", name).version) for name in KUBERNETES},
        ),
        images=contract.Images(_images(index, node=True), _images(index, node=False)),
        kubernetes_version=_version(index.image("kube-apiserver")),
        pause=f"{pause.name}:{pause.tag}",
        etcd_tag=index.image("etcd").tag,
        dns_tag=index.image("coredns").tag,
    )


def _legacy(index: Index) -> Content:
    """Return what preset legacy installs: upstream's packages, and the images that its kubeadm names itself.

    Raises ``LabError`` where the lab has a mirror of its own: that holds the supported version alone.
    """
    if not from_upstream(index):
        raise LabError(
            'preset = "legacy" is installed from upstream\'s repositories alone',
            hint='set mode = "upstream" in [mirror] of lab.toml, or preset = "supported"',
        )
    legacy = versions.lock().legacy
    return Content(
        packages=contract.Packages(
            containerd={name: index.debs[name] for name in index.debs if name.startswith("containerd")},
            kubernetes={name: f"{legacy[name].version}-*" for name in KUBERNETES},
        ),
        images=contract.Images((), _images(index, node=False)),
        kubernetes_version=f"v{legacy['kubeadm'].version}",
    )


def _images(index: Index, *, node: bool) -> tuple[contract.Image, ...]:
    """Return the images that ``kubeadm init`` needs, or all the others."""
    group = {artefact.name for artefact in index.artefacts if artefact.kind == "image" and artefact.group == "node"}
    images = [image for image in index.images if (image.name in group) == node]
    return tuple(contract.Image(image.name, image.tag, image.digest) for image in images)


def _version(image: Image) -> str:
    """Return the version that kubeadm turns into this image tag: it writes ``+`` as ``_``."""
    return image.tag.replace("_", "+", 1)


@dataclasses.dataclass(frozen=True)
class Sources:
    """The fields of ``contract.Lab`` that say where packages and images come from."""

    repository: contract.AptRepository | contract.RpmRepository | None = None
    upstream: contract.Upstream | None = None
    registries: dict[str, contract.Registry] = dataclasses.field(default_factory=dict)


def sources(lab: Lab, index: Index, served: Served | None, *, rpms: bool) -> Sources:
    """Return where packages and images come from: the lab's mirror, or upstream (then only our own images are its)."""
    theirs = {
        artefact.name for artefact in index.artefacts if artefact.kind == "image" and artefact.source == "upstream"
    }
    hosts = sorted({image.name.partition("/")[0] for image in index.images if image.name not in theirs})
    registries = {host: contract.Registry(served.mirror_of(host), _server(host, served)) for host in hosts
                  if served is not None}  # fmt: skip
    if from_upstream(index):
        minor = ".".join(_kubernetes_minor(lab, index))
        return Sources(upstream=contract.Upstream(minor, lab.settings.mirror.upstream), registries=registries)
    return Sources(repository=None if served is None else _repository(served, rpms=rpms), registries=registries)


def _repository(served: Served, *, rpms: bool) -> contract.AptRepository | contract.RpmRepository:
    """Return the lab's mirror as the node's package manager takes it."""
    key = served.key_path.read_text()
    if rpms:
        return contract.RpmRepository(f"{served.apt_url}/{rpm_versions.FOLDER}", key, apt.fingerprint(served.key_path))
    return contract.AptRepository(served.apt_url, suite="stable", components="main", key=key)


def _kubernetes_minor(lab: Lab, index: Index) -> list[str]:
    """Return major and minor of the Kubernetes whose repository the node uses."""
    legacy = lab.settings.preset == "legacy"
    version = versions.lock().legacy["kubeadm"].version if legacy else index.get("package", "kubeadm").version
    return version.split(".")[:2]


def _server(host: str, served: Served) -> str:
    """Return where containerd asks for images that the mirror has not; our own are nowhere else."""
    if host == OWN_REGISTRY:
        return served.mirror_of(host)
    return f"https://{SERVERS.get(host, host)}"
