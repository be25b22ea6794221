"""Data of a node for the deploys: ``.lab/NAME/node.json``, read by ``inventory/lab.py``."""

import dataclasses
import hashlib
import ipaddress
from pathlib import Path
from typing import Any, Literal

from deploys import contract
from hardwatt.config import versions
from hardwatt.config.lab import Lab
from hardwatt.connect import ssh_routes, unreachable
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core import state_files
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.core.files import write_atomic, write_json
from hardwatt.meter import models, node_config
from hardwatt.mirror.index import Index
from hardwatt.mirror.served import Served
from hardwatt.provision import git_keys, node_packages

EL = {"rhel", "centos"}
"""What the family of RHEL calls itself or says that it is like (os-release)."""
_PROCESSOR = """(. /etc/os-release; echo "$ID" "${ID_LIKE-}" "${PLATFORM_ID-}")
nproc
for name in sys_vendor product_name; do cat "/sys/class/dmi/id/$name" 2>/dev/null || echo; done
cat /proc/cpuinfo"""
NODE_MASK = 24
"""A node's share of the pod network, as the controller manager cuts it."""
REWRITE = "invoke lab.check"


@dataclasses.dataclass(frozen=True)
class Processor:
    """Processor and distribution of a node, queried before its data is written: for power models and packages."""

    cpus: int
    info: str
    """Text of /proc/cpuinfo."""
    instance: str = ""
    """Type of the cloud instance, where the firmware says it."""
    system: tuple[str, ...] = ("debian",)
    """ID, ID_LIKE and PLATFORM_ID of /etc/os-release."""

    @property
    def takes_rpms(self) -> bool:
        """Return whether the node is of RHEL's family."""
        return bool(EL & set(self.system)) or any(word.startswith("platform:el") for word in self.system)

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
    return state_files.cached(file, lambda value: value)


def read_node_data(lab: Lab) -> contract.NodeData:
    """Return what was last written about the node, by an older version too. Raises ``LabError``."""
    file = node_file(lab)
    what = "the description of the node,"
    data = state_files.read(file, contract.NodeData.from_dict, what=what, then=REWRITE, keep=True)
    if data is None:
        raise LabError(f"{file}, the description of the node, is missing", hint=REWRITE)
    return data


def meter_sha256(lab: Lab) -> str:
    """Return the SHA-256 of the meter's configuration file as the lab writes it. Raises ``LabError``."""
    return hashlib.sha256(read_node_data(lab).lab.meter.text.encode()).hexdigest()


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
    host, preset = lab.settings.host, _preset(lab, endpoint)
    content = node_packages.content(preset, index, rpms=processor.takes_rpms)
    sources = node_packages.sources(lab, index, served, rpms=processor.takes_rpms)
    sans = {endpoint.node_address, endpoint.address, endpoint.name, "127.0.0.1", "localhost"}
    return contract.Lab(
        name=lab.name,
        machine=endpoint.kind,
        preset=preset,
        node=contract.Node(endpoint.name, endpoint.node_address),
        networks=networks(lab.settings.kubernetes.pod_cidr, lab.settings.kubernetes.service_cidr),
        cert_sans=tuple(sorted(sans)),
        cgroup_root=endpoint.data.get("cgroup_root", "").rstrip("/"),
        boot=contract.Boot(host.disable_kmem_accounting, host.kernel_headers),
        stack=stack(),
        distribution_packages=node_packages.distribution(index, rpms=processor.takes_rpms),
        meter=_meter(lab, endpoint, processor, kepler=index.has_image(versions.lock().foreign["kepler"].repository)),
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


def takes_rpms(lab: Lab) -> bool:
    """Return whether the node takes its packages from the mirror as rpms."""
    return isinstance(read_node_data(lab).lab.repository, contract.RpmRepository)


def _meter(lab: Lab, endpoint: Endpoint, processor: Processor, *, kepler: bool) -> contract.Meter:
    """Return the meter's files, mounts and configuration (``/etc/hardwatt/meter.json``).

    ``kepler``: the lab's mirror holds Kepler.
    """
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
        kepler=kepler,
    )
    return contract.Meter(config, files, tuple(sorted(Path(dest).name for dest in files if dest.endswith(".mount"))))
