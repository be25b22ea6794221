"""Data that provisioning passes to the deploys: the content of ``.lab/NAME/node.json``, as types.

Both sides use these: ``hardwatt.provision.node_data`` makes them, ``inventory/lab.py`` and the deploys read them. The
standard library only, because the toolkit imports this too, and pyinfra changes the process it is imported into.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Self


class ContractError(ValueError):
    """Data that are not what the deploys are told; the message names the place."""


class Part:
    """A part of the data, to and from what JSON has."""

    FORMER: ClassVar[Mapping[str, str]] = {}
    """Keys in files that were written before, and their names today."""

    @classmethod
    def from_dict(cls, data: Any, where: str = "") -> Self:
        """Return the part that ``data`` describes; former names of keys are translated.

        Raises ``ContractError`` for an unknown, missing or wrong key.
        """
        if isinstance(data, Mapping):
            data = {cls._today(key, data): value for key, value in data.items()}
        part: Self = _part(cls, data, where)
        return part

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON gives back unchanged."""
        plain: dict[str, Any] = _plain(self)
        return plain

    @classmethod
    def _today(cls, key: Any, data: Mapping[str, Any]) -> Any:
        """Return today's name of a key; a former name beside today's is left, so that it is refused as unknown."""
        today = cls.FORMER.get(key, key)
        return key if today in data else today


@dataclasses.dataclass(frozen=True)
class Connection(Part):
    """Connection of pyinfra to the node; the host key is only ever the known one."""

    address: str
    port: int
    user: str
    key: str
    """Path of the private key on the controller."""
    known_hosts: str
    config: str
    """Path of an ssh_config of the lab's own, where the way leads through another host; else empty."""


@dataclasses.dataclass(frozen=True)
class Node(Part):
    """The node as the cluster knows it."""

    name: str
    address: str


@dataclasses.dataclass(frozen=True)
class Networks(Part):
    """The cluster's networks, and the one node's share."""

    pod_cidr: str
    service_cidr: str
    node_pod_cidr: str
    node_mask: int


@dataclasses.dataclass(frozen=True)
class Boot(Part):
    """Settings of [host] in lab.toml for the kernel."""

    FORMER: ClassVar[Mapping[str, str]] = {"nokmem": "disable_kmem_accounting", "headers": "kernel_headers"}

    disable_kmem_accounting: bool
    kernel_headers: str
    """``matching``, ``update`` or ``none``."""


@dataclasses.dataclass(frozen=True)
class Stack(Part):
    """The versions, besides Kubernetes itself, that the compatibility matrix judges."""

    containerd: str
    flux: str
    cni: str
    kepler: str


@dataclasses.dataclass(frozen=True)
class Packages(Part):
    """Package name to version, as the node's own package manager writes it."""

    containerd: dict[str, str]
    kubernetes: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Image(Part):
    """An image and the digest that its tag has to mean (empty: whatever it means there)."""

    name: str
    tag: str
    digest: str


@dataclasses.dataclass(frozen=True)
class Images(Part):
    """The images that ``kubeadm init`` needs, and all the others."""

    node: tuple[Image, ...]
    workload: tuple[Image, ...]


@dataclasses.dataclass(frozen=True)
class AptRepository(Part):
    """The lab's mirror for apt."""

    url: str
    suite: str
    components: str
    key: str
    """The public key's text."""


@dataclasses.dataclass(frozen=True)
class RpmRepository(Part):
    """The lab's mirror for dnf."""

    url: str
    key: str
    fingerprint: str


@dataclasses.dataclass(frozen=True)
class Upstream(Part):
    """Upstream's own repositories: which Kubernetes, and through which proxy (empty: none)."""

    minor: str
    base: str


@dataclasses.dataclass(frozen=True)
class Registry(Part):
    """Servers that containerd asks for a registry's images: first the mirror, then the server."""

    mirror: str
    server: str


@dataclasses.dataclass(frozen=True)
class Meter(Part):
    """The meter's configuration and files."""

    config: dict[str, Any]
    """Content of /etc/hardwatt/meter.json; its form is the daemon's affair."""
    files: dict[str, str]
    """Path on the node to path in the checkout."""
    mounts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The configuration file as it is written to the node, to the byte."""
        return json.dumps(self.config, indent=2, sort_keys=True) + "\n"


@dataclasses.dataclass(frozen=True)
class Lab(Part):
    """Data that the steps decide by; nothing in it is a secret."""

    FORMER: ClassVar[Mapping[str, str]] = {"reading_interval": "scrape_interval"}

    name: str
    machine: str
    """``ssh``, ``embedded`` or ``vm``."""
    preset: str
    node: Node
    networks: Networks
    cert_sans: tuple[str, ...]
    cgroup_root: str
    boot: Boot
    stack: Stack
    distribution_packages: tuple[str, ...]
    meter: Meter
    scrape_interval: str
    packages: Packages
    images: Images
    kubernetes_version: str
    pause: str
    etcd_tag: str
    dns_tag: str
    repository: AptRepository | RpmRepository | None
    upstream: Upstream | None
    registries: dict[str, Registry]

    @property
    def pins(self) -> dict[str, str]:
        """Return every package whose version the lab decides."""
        return {**self.packages.containerd, **self.packages.kubernetes}

    @classmethod
    def from_dict(cls, data: Any, where: str = "lab") -> Self:
        """Return the lab that ``data`` describes; see ``Part.from_dict``."""
        return super().from_dict(data, where)


@dataclasses.dataclass(frozen=True)
class Git(Part):
    """Host data of ``deploys/git_server.py``."""

    git_keys: dict[str, str]
    """Name of a key to the public key."""
    git_access: dict[str, dict[str, str]]
    """Name of a key to repository to ``ro`` or ``rw``."""
    git_port: int


@dataclasses.dataclass(frozen=True)
class NodeData(Part):
    """The whole file: the connection, the lab, and host data of other parts."""

    ssh: Connection
    lab: Lab
    data: Git


def _part(kind: type[Any], data: Any, where: str) -> Any:
    """Return a dataclass from its dict: each key once, none more and none less."""
    if not isinstance(data, Mapping):
        raise ContractError(f"{where or 'the data'}: a table is wanted, not {data!r:.40}")
    fields = {field.name: field.type for field in dataclasses.fields(kind)}
    for what, names in (("unknown", set(data) - set(fields)), ("missing", set(fields) - set(data))):
        if names:
            listed = ", ".join(repr(name) for name in sorted(names, key=str))
            raise ContractError(f"{where or 'the data'}: {what} {listed}")
    return kind(**{name: _value(fields[name], data[name], f"{where}.{name}".lstrip(".")) for name in fields})


def _value(kind: Any, data: Any, where: str) -> Any:
    """Return a value of one kind from what JSON has for it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return data
    if origin is types.UnionType:
        return _one_of(arguments, data, where)
    if origin is tuple and isinstance(data, (list, tuple)):
        return tuple(_value(arguments[0], item, f"{where}[{place}]") for place, item in enumerate(data))
    if origin is dict and isinstance(data, Mapping) and all(isinstance(key, str) for key in data):
        return {key: _value(arguments[1], item, f"{where}[{key!r}]") for key, item in data.items()}
    if dataclasses.is_dataclass(kind):
        return typing.cast(type[Part], kind).from_dict(data, where)
    if type(data) is kind:  # a bool is no int here
        return data
    wanted = {tuple: "a list", dict: "a table"}.get(origin or kind, getattr(kind, "__name__", str(kind)))
    raise ContractError(f"{where}: {wanted} is wanted, not {data!r:.40}")


def _one_of(kinds: tuple[Any, ...], data: Any, where: str) -> Any:
    """Return nothing, or the part whose keys these are (else the first part says what is wrong)."""
    if data is None and type(None) in kinds:
        return None
    parts = [kind for kind in kinds if kind is not type(None)]
    keys = set(data) if isinstance(data, Mapping) else set()
    fits = [kind for kind in parts if {field.name for field in dataclasses.fields(kind)} == keys]
    return _value((fits or parts)[0], data, where)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
