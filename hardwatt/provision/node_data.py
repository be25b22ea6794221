"""What the deploys are told about a node: ``.lab/NAME/node.json``, read by ``inventory/lab.py``."""

import dataclasses
import ipaddress
from pathlib import Path
from typing import Any, Literal

from deploys import contract
from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.connect import ssh_routes, unreachable
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.core.files import read_json, write_atomic, write_json
from hardwatt.meter import models, node_config
from hardwatt.mirror import apt, rpm_versions
from hardwatt.mirror.index import Image, Index
from hardwatt.mirror.served import Served
from hardwatt.provision import git_keys

KUBERNETES = ("kubeadm", "kubectl", "kubelet")
DISTRIBUTION = (
    "conntrack", "containernetworking-plugins", "ethtool", "iproute2", "iptables", "kmod", "mount", "python3", "runc",
    "socat",
)  # fmt: skip
"""What the packages of Kubernetes and containerd call and no longer ask for (Debian's names)."""
EL_DISTRIBUTION = (
    "conntrack-tools", "container-selinux", "containernetworking-plugins", "ethtool", "iproute", "iproute-tc",
    "iptables", "kmod", "python3", "runc", "socat", "tar", "util-linux",
)  # fmt: skip
"""The same by the names of RHEL and its relatives."""
EL = {"rhel", "centos"}
"""What the family of RHEL calls itself or says that it is like (os-release)."""
OWN_REGISTRY = "hardwatt.dev"
"""The name under which images stand that this repository makes; nothing answers there."""
SERVERS = {"docker.io": "registry-1.docker.io"}
"""Registries whose server has another name than their images."""
_PROCESSOR = """(. /etc/os-release; echo "$ID" "${ID_LIKE-}")
nproc
for name in sys_vendor product_name; do cat "/sys/class/dmi/id/$name" 2>/dev/null || echo; done
cat /proc/cpuinfo"""
NODE_MASK = 24
"""A node's share of the pod network, as the controller manager cuts it."""
REWRITE = "invoke lab.check writes it anew"


@dataclasses.dataclass(frozen=True)
class Processor:
    """What is asked of a node before its data is written: for the power models, and how it takes packages."""

    cpus: int
    info: str
    """Text of /proc/cpuinfo."""
    instance: str = ""
    """Type of the cloud instance, where the firmware says it."""
    system: tuple[str, ...] = ("debian",)
    """ID and ID_LIKE of /etc/os-release."""

    @property
    def takes_rpms(self) -> bool:
        """Return whether the node is of RHEL's family."""
        return bool(EL & set(self.system))

    @classmethod
    def of(cls, endpoint: Endpoint) -> "Processor":
        """Ask the node. Raises ``LabError`` where its answer is something else."""
        with Ssh(endpoint) as ssh:
            answer = ssh.run(_PROCESSOR).stdout
        try:
            system, cpus, vendor, product, info = answer.split("\n", 4)
            count = int(cpus)
        except ValueError:
            raise unreachable.garbled(endpoint) from None
        return cls(count, info, models.cloud_instance(vendor, product), tuple(system.split()))


def node_file(lab: Lab) -> Path:
    """Return where the node's data lies; it names keys by their path and holds no secret."""
    return lab.dir / "node.json"


def write_node_data(lab: Lab, endpoint: Endpoint, index: Index, served: Served | None) -> Path:
    """Write what the deploys need to know; return the file."""
    file = node_file(lab)
    data = node_data(lab, endpoint, index, served, Processor.of(endpoint)).to_dict()
    if endpoint.jump:
        write_atomic(_ssh_config(lab), ssh_routes.ssh_config(endpoint))
    if _held(file) != data:
        write_json(file, data, mode=0o600)
    return file


def _held(file: Path) -> Any:
    """Return what is in the file; nothing where it is not there, or is no JSON."""
    try:
        return read_json(file)
    except ValueError:
        return None


def read_node_data(lab: Lab) -> contract.NodeData:
    """Return what was last written about the node, by an older version too. Raises ``LabError``."""
    file = node_file(lab)
    try:
        return contract.NodeData.from_dict(read_json(file))
    except ValueError as error:  # of the contract, or no JSON at all
        raise LabError(f"{file} is not what the deploys are told: {error}", hint=REWRITE) from None


def _ssh_config(lab: Lab) -> Path:
    return lab.dir / "ssh_config"


def node_data(
    lab: Lab, endpoint: Endpoint, index: Index, served: Served | None, processor: Processor
) -> contract.NodeData:
    """Return the connection (``ssh``), the lab (``lab``) and host data of other parts (``data``).

    ``served`` is None where the node uses upstream's own repositories and registries.
    """
    connection = contract.Connection(
        address=endpoint.address,
        port=endpoint.port,
        user=endpoint.user,
        key=str(endpoint.key),
        known_hosts=str(endpoint.known_hosts),
        config=str(_ssh_config(lab)) if endpoint.jump else "",
    )
    return contract.NodeData(connection, lab_data(lab, endpoint, index, served, processor), git_keys.node_data(lab))


def lab_data(lab: Lab, endpoint: Endpoint, index: Index, served: Served | None, processor: Processor) -> contract.Lab:
    """Return what the steps decide by; nothing in it is a secret."""
    host, content = lab.settings.host, _content(lab, endpoint, index, rpms=processor.takes_rpms)
    sources = _sources(lab, index, served, rpms=processor.takes_rpms)
    sans = {endpoint.node_address, endpoint.address, endpoint.name, "127.0.0.1", "localhost"}
    return contract.Lab(
        name=lab.name,
        machine=endpoint.kind,
        preset=_preset(lab, endpoint),
        node=contract.Node(endpoint.name, endpoint.node_address),
        networks=networks(lab.settings.kubernetes.pod_cidr, lab.settings.kubernetes.service_cidr),
        cert_sans=tuple(sorted(sans)),
        cgroup_root=endpoint.data.get("cgroup_root", "").rstrip("/"),
        boot=contract.Boot(nokmem=host.disable_kmem_accounting, headers=host.kernel_headers),
        stack=stack(),
        distribution_packages=_distribution(index, processor),
        meter=_meter(lab, endpoint, processor),
        scrape_interval=endpoint.scrape_interval,
        packages=content.packages,
        images=content.images,
        kubernetes_version=content.kubernetes_version,
        pause=content.pause,
        etcd_tag=content.etcd_tag,
        dns_tag=content.dns_tag,
        repository=sources.repository,
        upstream=sources.upstream,
        registries=sources.registries,
    )


def stack() -> contract.Stack:
    """Return the versions, besides Kubernetes itself, that the compatibility matrix judges."""
    lock = versions.lock()
    return contract.Stack(
        containerd=lock.sources["containerd"].version,
        flux=lock.sources["flux"].version,
        cni="bridge",
        kepler=lock.foreign["kepler"].tag,
    )


def networks(pod_cidr: str, service_cidr: str) -> contract.Networks:
    """Return the cluster's networks and the one node's share, which is the first of its size.

    Raises ``SettingsError`` where the pod network is too small for a node.
    """
    pods = ipaddress.ip_network(pod_cidr)
    mask = max(NODE_MASK, pods.prefixlen)
    if pods.version != 4 or mask > 28:
        raise SettingsError(f"pod_cidr {pod_cidr} is too small or not IPv4", hint="a /16 to /28, in [kubernetes]")
    first = next(pods.subnets(new_prefix=mask))
    return contract.Networks(pod_cidr, service_cidr, node_pod_cidr=str(first), node_mask=mask)


def _preset(lab: Lab, endpoint: Endpoint) -> str:
    if lab.settings.preset != "auto":
        return lab.settings.preset
    return "embedded" if endpoint.kind == "embedded" else "supported"


def from_upstream(index: Index) -> bool:
    """Return whether the node takes its packages from upstream's own repositories."""
    return any(artefact.source == "upstream" and artefact.kind == "package" for artefact in index.artefacts)


def _distribution(index: Index, processor: Processor) -> tuple[str, ...]:
    """Return the distribution's packages; upstream's containerd and kubelet bring runc and plugins themselves."""
    names = EL_DISTRIBUTION if processor.takes_rpms else DISTRIBUTION
    brought = {"containernetworking-plugins", "runc"} if from_upstream(index) else set()
    return tuple(name for name in names if name not in brought)


@dataclasses.dataclass(frozen=True)
class _Content:
    """The fields of ``contract.Lab`` that say what is installed."""

    packages: contract.Packages
    images: contract.Images
    kubernetes_version: str
    pause: str = ""
    etcd_tag: str = ""
    dns_tag: str = ""


def _content(lab: Lab, endpoint: Endpoint, index: Index, *, rpms: bool) -> _Content:
    """Return packages and images; versions come from the index alone, those of preset legacy from the lock."""
    debs = index.debs
    if _preset(lab, endpoint) == "legacy":
        return _legacy(index)
    pause = index.image("pause")
    of_node = rpm_versions.evr if rpms and not from_upstream(index) else str
    return _Content(
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


def _legacy(index: Index) -> _Content:
    """Return what preset legacy installs: upstream's packages, and the images that its kubeadm names itself.

    Raises ``LabError`` where the lab has a mirror of its own: that holds the supported version alone.
    """
    if not from_upstream(index):
        raise LabError(
            'preset = "legacy" is installed from upstream\'s repositories alone',
            hint='set mode = "upstream" in [mirror] of lab.toml, or preset = "supported"',
        )
    legacy = versions.lock().legacy
    return _Content(
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
    found = [image for image in index.images if (image.name in group) == node]
    return tuple(contract.Image(image.name, image.tag, image.digest) for image in found)


def _version(image: Image) -> str:
    """Return the version that kubeadm turns into this image tag: it writes ``+`` as ``_``."""
    return image.tag.replace("_", "+", 1)


def takes_rpms(lab: Lab) -> bool:
    """Return whether the node takes its packages from the mirror as rpms."""
    return isinstance(read_node_data(lab).lab.repository, contract.RpmRepository)


@dataclasses.dataclass(frozen=True)
class _Sources:
    """The fields of ``contract.Lab`` that say where packages and images come from."""

    repository: contract.AptRepository | contract.RpmRepository | None = None
    upstream: contract.Upstream | None = None
    registries: dict[str, contract.Registry] = dataclasses.field(default_factory=dict)


def _sources(lab: Lab, index: Index, served: Served | None, *, rpms: bool) -> _Sources:
    """Return where packages and images come from: the lab's mirror, or upstream (then only our own images are its)."""
    theirs = {one.name for one in index.artefacts if one.kind == "image" and one.source == "upstream"}
    hosts = sorted({image.name.partition("/")[0] for image in index.images if image.name not in theirs})
    registries = {host: contract.Registry(served.mirror_of(host), _server(host, served)) for host in hosts
                  if served is not None}  # fmt: skip
    if from_upstream(index):
        minor = ".".join(_kubernetes_minor(lab, index))
        return _Sources(upstream=contract.Upstream(minor, lab.settings.mirror.upstream), registries=registries)
    return _Sources(repository=None if served is None else _repository(served, rpms=rpms), registries=registries)


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


def _meter(lab: Lab, endpoint: Endpoint, processor: Processor) -> contract.Meter:
    """Return the meter's files, mounts and configuration (``/etc/hardwatt/meter.json``)."""
    asked = lab.settings.meter.source
    source: Literal["rapl", "modelled"] = "modelled" if asked == "auto" and endpoint.kind != "ssh" else "rapl"
    if asked != "auto":
        source = asked
    asked_model = lab.settings.meter.model
    model = models.select_model(asked_model, processor.info, processor.instance) if source == "modelled" else None
    cpu = endpoint.data.get("machine_cgroup") or "procstat"
    files = {dest: str(file.relative_to(lab.root)) for dest, file in node_config.NODE_FILES.items()}
    # a counter that a node on this machine sees is that of the whole machine: the model is meant to stand beside it
    config = node_config.meter_config(
        source=source,
        model=model,
        cpus=processor.cpus,
        cpu=cpu,
        force_model=source == "modelled" and endpoint.kind != "ssh",
    )
    return contract.Meter(config, files, tuple(sorted(Path(dest).name for dest in files if dest.endswith(".mount"))))
