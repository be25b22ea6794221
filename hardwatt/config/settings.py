"""What a person may set in ``lab.toml``: everything optional, nothing unknown accepted."""

import hashlib
import ipaddress
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hardwatt.config import kinds
from hardwatt.core import former_names
from hardwatt.core.errors import SettingsError

M = TypeVar("M", bound=BaseModel)

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout that this package lies in (the toolkit's tasks run from a checkout)."""

DEFAULT_SCRAPE_INTERVAL = "15s"
"""Scrape interval of a lab that sets none, whatever its machine is: clusters/base is written for it."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Host(_Section):
    """Somebody's host over SSH (``machine = "ssh"``)."""

    address: kinds.Host = ""
    port: int = Field(22, ge=1, le=65535)
    user: kinds.User = "root"
    key: kinds.LocalPath = Field("", description="private key file; empty: the lab's own key")
    kernel_headers: Literal["matching", "update", "none"] = Field(
        "matching",
        description="headers of the running kernel; update: where they are gone, update the kernel and reboot",
    )
    disable_kmem_accounting: bool = Field(
        False, description="preset legacy: boot with cgroup.memory=nokmem (one reboot)"
    )
    jump: kinds.Jump = Field("", description="USER@HOST:PORT on the way to it, with the same key")
    timeout_factor: float = Field(1, ge=1, le=20, description="by how much a slow host is waited for longer")

    @model_validator(mode="after")
    def _another_hop(self) -> "Host":
        hop = self.jump.rpartition("@")[2]
        hop = hop[1:].partition("]")[0] if hop.startswith("[") else hop.partition(":")[0]
        if self.address and _same_host(hop, self.address):
            raise ValueError(
                f"jump and address are one host, {hop}: leave jump out, or name the host as the jump host reaches it "
                "(a port on the jump host itself: address = 127.0.0.1)"
            )
        return self


def _same_host(name: str, other: str) -> bool:
    """Return whether two names or addresses are written for one host; nothing is looked up."""
    try:
        return ipaddress.ip_address(name) == ipaddress.ip_address(other)
    except ValueError:
        return name.lower().rstrip(".") == other.lower().rstrip(".")


class Vm(_Section):
    """The virtual machine (``machine = "vm"``)."""

    cpus: int = Field(2, ge=2, le=64)
    memory: int = Field(0, ge=0, description="MiB; 0: what the lab needs and this machine can give")
    cgroup: Literal["v1", "v2"] = Field("v1", description="how it first boots: v1 as RHEL 8.6 comes, or v2")


class Mirror(_Section):
    """Where packages, images and tools come from."""

    mode: Literal["auto", "build", "upstream"] = "auto"
    cache: kinds.LocalPath = Field("", description="cache folder; empty: the user's cache folder")
    upstream: kinds.BaseUrl = Field("", description="base URL in place of upstream's hosts, for an internal proxy")


class Kubernetes(_Section):
    """Networks of the cluster."""

    pod_cidr: kinds.Network = "10.244.0.0/16"
    service_cidr: kinds.Network = "10.96.0.0/16"

    @model_validator(mode="after")
    def _apart(self) -> "Kubernetes":
        pods, services = ipaddress.ip_network(self.pod_cidr), ipaddress.ip_network(self.service_cidr)
        if pods.overlaps(services):
            raise ValueError(f"pod_cidr {pods} and service_cidr {services} overlap")
        return self


class Gitops(_Section):
    """The lab's repository and how Flux reads it: docs/fork.md."""

    kind: Literal["git", "github"] = "git"
    branch: kinds.Branch = Field("main", pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")
    path: kinds.PathBelow = "clusters/lab"
    interval: str = Field("1m", pattern=r"^(\d+(ms|s|m|h))+$")
    url: str = Field("", description="git: a server of your own in place of the node's; https:// or ssh://")
    username: kinds.Login = Field("git", description="git over https: who; the password is asked for")
    known_host: kinds.KnownHost = Field("", description="git over ssh: the server's line of known_hosts")
    ca_file: kinds.LocalPath = Field("", description="certificate of a private authority (https, github)")
    owner: str = Field("", max_length=100, pattern=r"^[A-Za-z0-9-]*$")
    repository: str = Field("", max_length=100, pattern=r"^[A-Za-z0-9._-]*$")
    personal: bool = Field(True, description="github: the owner is a person, else an organisation")
    private: bool = Field(True, description="github: how a new repository is made")
    # An address with a port makes go-git-providers 0.27 (in Flux 2.9) panic.
    hostname: str = Field("github.com", max_length=253, pattern=r"^([A-Za-z][A-Za-z0-9.-]*(:\d+)?|[0-9.]+)$")
    ssh_hostname: str = Field("", max_length=253, pattern=r"^([A-Za-z0-9.-]+(:\d+)?)?$")

    @model_validator(mode="after")
    def _whole(self) -> "Gitops":
        if self.kind == "github" and not (self.owner and self.repository):
            raise ValueError('kind = "github" needs owner and repository')
        if self.kind == "github" and self.url:
            raise ValueError('url belongs to kind = "git"')
        if self.url:
            self._check_url()
        return self

    def _check_url(self) -> None:
        try:
            parts = kinds.split_url(self.url, ("https", "ssh"))
        except ValueError:
            raise ValueError("url is https://HOST/PATH or ssh://USER@HOST/PATH") from None
        if parts.password or (parts.scheme == "https" and parts.username):
            raise ValueError("url names no user with https and never a password: set username, the password is asked")
        if "@" in parts.netloc and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", parts.username or ""):
            raise ValueError("the user in url is not a user name: letters, digits, and . _ + - after the first")
        if parts.scheme == "ssh" and len(self.known_host.split()) < 3:
            raise ValueError("url over ssh needs known_host, the server's own line of known_hosts: HOST TYPE KEY")


class Meter(_Section):
    """Where the energy figures come from."""

    source: Literal["auto", "rapl", "modelled"] = "auto"
    model: str = Field(
        "auto", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="a power model of hardwatt/meter/models.toml"
    )


class Prometheus(_Section):
    """The lab's Prometheus."""

    retention: str = Field("24h", pattern=r"^\d+(s|m|h|d|w|y)$")
    retention_size: str = Field("2GB", pattern=r"^\d+(MB|GB)$")
    scrape_interval: str = Field("", description=f"empty: {DEFAULT_SCRAPE_INTERVAL}")
    attribution: Literal["cgroup", "kepler"] = Field(
        "cgroup", description="what the recreated metric names of 2022 are computed from"
    )
    local_port: int = Field(9090, ge=1, le=65535)

    @field_validator("scrape_interval")
    @classmethod
    def _scrape_interval(cls, value: str) -> str:
        number = re.fullmatch(r"([0-9]{1,6})(ms|s|m)", value)
        ms = int(number[1]) * {"ms": 1, "s": 1000, "m": 60_000}[number[2]] if number else 0
        if value and not 100 <= ms <= 60_000:
            raise ValueError("a scrape interval is a number and ms, s or m, from 100ms to 1m: 15s is the default")
        return value


class Settings(_Section):
    """The resolved settings of one lab."""

    name: str = ""
    machine: Literal["auto", "embedded", "vm", "ssh"] = "auto"
    preset: Literal["auto", "supported", "legacy", "embedded"] = "auto"
    results: kinds.Results = "results"
    host: Host = Host()
    vm: Vm = Vm()
    mirror: Mirror = Mirror()
    kubernetes: Kubernetes = Kubernetes()
    gitops: Gitops = Gitops()
    meter: Meter = Meter()
    prometheus: Prometheus = Prometheus()

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        if value and not re.fullmatch(r"[a-z][a-z0-9-]{0,30}[a-z0-9]", value):
            raise ValueError("a name has 2 to 32 small letters, digits and hyphens, and starts with a letter")
        return value


def default_name(root: Path = ROOT) -> str:
    """Return the name of the lab of a checkout: another checkout has another one."""
    return "lab-" + hashlib.sha256(str(root).encode()).hexdigest()[:6]


def load(path: Path | None = None) -> Settings:
    """Read ``lab.toml`` (or ``HARDWATT_CONFIG``); where there is none, everything is the default.

    ``HARDWATT_LAB`` overrides the name, so that a test or a second lab can share the settings.

    Raises ``SettingsError`` naming the file, the key and, for a misspelt one, the nearest.
    """
    given = path or (Path(os.environ["HARDWATT_CONFIG"]) if "HARDWATT_CONFIG" in os.environ else None)
    file = given or ROOT / "lab.toml"
    data: dict[str, Any] = {}
    if file.exists():
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8-sig"))  # editors of Windows write a mark first
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file} is not valid TOML: {error}", hint="see lab.example.toml") from error
    elif given is not None:
        raise SettingsError(f"the settings file {file} does not exist", hint="see lab.example.toml")
    if name := os.environ.get("HARDWATT_LAB"):
        data["name"] = name
    data.setdefault("name", default_name())
    return parse(Settings, data, str(file))


def parse(model: type[M], data: dict[str, Any], where: str) -> M:
    """Validate ``data``; all problems at once, each with its key and a suggestion.

    Raises ``SettingsError``.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_problem(model, item) for item in error.errors(include_url=False)]
        raise SettingsError(f"{where}: " + "; ".join(lines), hint=f"mend {where} and run the command again") from None


def _problem(model: type[BaseModel], item: Any) -> str:
    path = [str(part) for part in item["loc"]]
    key = ".".join(path)
    if item["type"] != "extra_forbidden":
        return f"{key}: {item['msg']}"
    if said := former_names.refusal(key, former_names.SETTINGS):
        return said
    from hardwatt.core.nearest import did_you_mean  # only where something is wrong

    known = _keys(model, path[:-1])
    return f"unknown key {key!r}; {did_you_mean(path[-1], sorted(known), 'known keys')}"


def _keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """Return the keys of the section at ``path`` (indexes into lists and names in a table are passed over)."""
    current: Any = model
    named = False
    for part in path:
        if part.isdigit() or named:
            named = False
            continue
        field = current.model_fields.get(part)
        if field is None:
            return []
        named = getattr(field.annotation, "__origin__", None) is dict
        current = next(
            (kind for kind in _kinds(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)),
            None,
        )
        if current is None:
            return []
    return list(current.model_fields)


def _kinds(annotation: Any) -> list[Any]:
    """Return a type and the types inside it (``list[X]``, ``X | None``)."""
    inner = getattr(annotation, "__args__", ())
    return [annotation, *(kind for part in inner for kind in _kinds(part))]
