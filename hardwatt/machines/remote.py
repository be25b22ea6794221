"""Somebody's host over SSH, from ``[host]`` in lab.toml. It is theirs: it is never powered off here."""

import contextlib
import dataclasses
import ipaddress
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Host
from hardwatt.connect import ssh_routes, unreachable
from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.host_keys import fingerprint, known_keys
from hardwatt.connect.ssh import Route, Ssh
from hardwatt.connect.ssh_routes import Hop, known_name
from hardwatt.connect.unreachable import Place
from hardwatt.core import questions
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.limits import Limits
from hardwatt.core.progress import say
from hardwatt.machines import identity
from hardwatt.machines.base import MachineStatus, ssh_argv

OFFER = Limits(connect=30)
"""For the host key that a host offers: the first thing that a slow one is asked for."""


@dataclasses.dataclass(frozen=True)
class SshMachine:
    """The host that lab.toml names."""

    lab: Lab
    why: str = "lab.toml says so"
    kind: str = "ssh"

    def start(self) -> Endpoint:
        """Check that the host answers, with the host key that the lab knows."""
        endpoint = self.endpoint()
        with Ssh(endpoint) as ssh:
            ssh.run("true")
        return endpoint

    def stop(self) -> None:
        say(f"{self._host.address} is somebody's host: it stays on")

    def destroy(self) -> None:
        say(f"{self._host.address} is somebody's host: nothing to remove of the machine itself")

    def status(self) -> MachineStatus:
        host = self._host
        try:
            self.start()
        except LabError as error:
            return MachineStatus(self.lab.name, self.kind, "dead", host.address, error.message, error.hint)
        return MachineStatus(self.lab.name, self.kind, "running", host.address)

    def endpoint(self) -> Endpoint:
        host = self._host
        key = Path(host.key).expanduser() if host.key else identity.ensure_key(self.lab, identity.CLIENT_KEY)
        if not key.exists():
            raise LabError(f"the key file {key} for {host.user}@{host.address} does not exist",
                           hint=f"correct key in [host] of lab.toml; {unreachable.AGAIN}")  # fmt: skip
        jump = str(Hop.parse(host.jump)) if host.jump else ""
        address = numeric(host) if jump else resolve(host)
        adopt(self.lab)
        return Endpoint(
            name=self.lab.name,
            kind=self.kind,
            address=host.address,
            port=host.port,
            user=host.user,
            key=key,
            known_hosts=self.lab.known_hosts,
            # a host behind another one rarely reaches us: what we serve comes to its own loopback through SSH
            controller_address="127.0.0.1" if jump else own_address(host),
            node_address=address,
            data={"cgroup_root": "/", "proc_stat": "node"},
            reverse=bool(jump),
            jump=jump,
        )

    def obstacle(self) -> str:
        return ""  # only a connection tells

    def shell_argv(self) -> list[str]:
        return ssh_argv(self.endpoint())

    @property
    def _host(self) -> Host:
        host = self.lab.settings.host
        if not host.address:
            raise LabError(
                'machine = "ssh" needs a host', hint=f"set address in [host] of lab.toml; {unreachable.AGAIN}"
            )
        return host


def resolve(host: Host) -> str:
    """Return the host's address as a number."""
    try:
        return str(socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise unreachable.failed(Place.named(host), error) from None


def numeric(host: Host) -> str:
    """Return the address of a host behind a jump host, which must be a number: its name means nothing here."""
    try:
        return str(ipaddress.ip_address(host.address))
    except ValueError:
        raise LabError(f"the host {host.address} is behind {host.jump}, so its name may be known there only",
                       hint="write its IP address into [host] of lab.toml") from None  # fmt: skip


def own_address(host: Host) -> str:
    """Return this machine's address on the way to the host (no packet is sent)."""
    family, _, _, _, target = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(target)
        except OSError as error:
            raise unreachable.failed(Place.named(host), error) from None
        return str(probe.getsockname()[0])


@dataclasses.dataclass(frozen=True)
class Offer:
    """A host key as a host offers it; by itself it proves nothing."""

    address: str
    port: int
    key: paramiko.PKey

    @property
    def name(self) -> str:
        return known_name(self.address, self.port)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.key)

    def known_to_user(self) -> bool:
        """Return whether the user's own known hosts have this very key for this host."""
        return bool(users_known_hosts().check(self.name, self.key))


def offer(lab: Lab, address: str = "") -> Offer:
    """Return the host key that the host of lab.toml, or its jump host, offers now.

    Raises ``LabError`` for an address that lab.toml does not name, and where nothing answers.
    """
    host = lab.settings.host
    hop = Hop.parse(host.jump) if host.jump else None
    address = address or host.address
    named = [host.address, *([hop.address] if hop else [])]
    if address not in named:
        raise LabError(f"lab.toml names the host {' and '.join(map(repr, named))}, not {address!r}",
                       hint="[host] in lab.toml")  # fmt: skip
    port = hop.port if hop and address == hop.address else host.port
    if hop and address != hop.address:
        return _offer_behind(lab, hop)
    setting = "jump" if hop else "address"
    try:
        with socket.create_connection((address, port), timeout=OFFER.patient().connect) as sock:
            return Offer(address, port, _offered(sock))
    except (OSError, paramiko.SSHException) as error:
        raise unreachable.failed(Place(hop.user if hop else host.user, address, port, setting), error) from error


def _offer_behind(lab: Lab, hop: Hop) -> Offer:
    """Return the host key that the host behind the jump host offers; the jump host's key is known before."""
    endpoint = SshMachine(lab).endpoint()
    known = known_keys(lab.known_hosts)
    if known.lookup(hop.known_as) is None:
        raise LabError(f"the lab does not know the host key of {hop.known_as}, the jump host of {endpoint.address}",
                       hint=f"invoke lab.trust {hop.address}")  # fmt: skip
    route = Route(ssh_routes.proxy_command(endpoint, f"{endpoint.address}:{endpoint.port}"))
    try:
        return Offer(endpoint.address, endpoint.port, _offered(route))
    except (OSError, paramiko.SSHException) as error:
        raise unreachable.explained(endpoint, error, route.last_words()) from error
    finally:
        route.last_words()


def _offered(sock: Any) -> paramiko.PKey:
    limit = OFFER.patient().connect
    transport = paramiko.Transport(sock)
    transport.banner_timeout = limit
    started = time.monotonic()
    try:
        transport.start_client(timeout=limit)  # it returns without a key where the limit passed
        return transport.get_remote_server_key()
    except paramiko.SSHException as error:
        if time.monotonic() - started >= limit:
            raise TimeoutError(f"no host key within {limit:.0f} s") from error
        raise
    finally:
        transport.close()
        transport.join(10)


def learn(lab: Lab, offered: Offer, expected: str) -> str:
    """Learn a host key if its fingerprint is the expected one; return the fingerprint.

    ``expected`` comes from the host itself: its console, its administrator, or
    ``ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`` there.

    Raises ``RefusedError`` with both fingerprints where they differ.
    """
    if offered.fingerprint != expected.strip():
        raise RefusedError(f"{offered.address} offers the host key {offered.fingerprint}, and not {expected.strip()}",
                           hint="read the fingerprint on the host itself, and find out who answers")  # fmt: skip
    if offered.key.get_base64() in _revoked(_users_lines()):
        raise RefusedError(
            f"the host key {offered.fingerprint} of {offered.name} is marked @revoked in your known_hosts",
            hint="have the host make another key; if the mark is wrong, remove its line from ~/.ssh/known_hosts",
        )
    _learn(lab, offered.address, offered.port, offered.key)
    return offered.fingerprint


def asked(offered: Offer) -> str:
    """Return the fingerprint that whoever sits at the terminal says is the right one.

    Raises ``LabError`` where it is not this one, or nobody can be asked.
    """
    here = f"{offered.name} offers the host key {offered.fingerprint} ({offered.key.get_name()})"
    remedy = f"invoke lab.trust {offered.address} --fingerprint SHA256:..."
    if not sys.stdin.isatty():
        raise LabError(f"{here}; compare it with the fingerprint on the host's own console ({_printed(offered)})",
                       hint=remedy)  # fmt: skip
    print(here)
    print(f"on the host's own console: {_printed(offered)}")
    answer = questions.ask("Is it the same? (yes, no, or the fingerprint there) ")
    if answer.lower() in ("y", "yes"):
        return offered.fingerprint
    if not answer.startswith("SHA256:"):
        raise LabError(f"the host key of {offered.name} stays unknown", hint=remedy)
    return answer


def _printed(offered: Offer) -> str:
    """Return the command that prints the key's fingerprint on the host."""
    kind = next((kind for kind in ("ed25519", "ecdsa") if kind in offered.key.get_name()), "rsa")
    return f"ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub"


def users_known_hosts() -> paramiko.HostKeys:
    """Return the host keys that the user trusts elsewhere.

    A line that is no plain host key is left out. A key with a line ``@revoked`` counts for no host at all: OpenSSH
    compares the host's name too, and a key that leaked is no better under another one.
    """
    trusted, lines = paramiko.HostKeys(), _users_lines()
    revoked = _revoked(lines)
    for line in lines:
        if line.startswith(("#", "@")):
            continue
        # a line, or a kind of key, that paramiko does not know
        with contextlib.suppress(paramiko.SSHException, InvalidHostKey, ValueError):
            if (entry := HostKeyEntry.from_line(line)) and entry.key.get_base64() not in revoked:
                for name in entry.hostnames:
                    trusted.add(name, entry.key.get_name(), entry.key)
    return trusted


def _users_lines() -> list[str]:
    with contextlib.suppress(OSError):
        return Path("~/.ssh/known_hosts").expanduser().read_text(errors="replace").splitlines()
    return []


def _revoked(lines: Iterable[str]) -> set[str]:
    """Return the keys (base64) that lines of known_hosts revoke."""
    return {words[3] for line in lines if (words := line.split())[:1] == ["@revoked"] and len(words) > 3}


def adopt(lab: Lab) -> None:
    """Take over from the user's known hosts what the lab does not know of its host and of the jump host."""
    host = lab.settings.host
    hops = [Hop.parse(host.jump)] if host.jump else []
    places = [*((hop.address, hop.port) for hop in hops), (host.address, host.port)]
    known = known_keys(lab.known_hosts)
    missing = [place for place in places if known.lookup(known_name(*place)) is None]
    users = users_known_hosts() if missing else paramiko.HostKeys()
    for address, port in missing:
        name = known_name(address, port)
        keys: Mapping[str, paramiko.PKey] = users.lookup(name) or {}
        if kind := min(keys, key=_preference, default=""):
            _learn(lab, address, port, keys[kind])
            say(f"the host key of {name} is the one in your known_hosts: {fingerprint(keys[kind])}")


def _preference(kind: str) -> tuple[bool, bool]:
    """Return how a kind of key sorts: as OpenSSH asks for them, Ed25519 before ECDSA before the rest."""
    return ("ed25519" not in kind, "ecdsa" not in kind)


def _learn(lab: Lab, address: str, port: int, key: paramiko.PKey) -> None:
    identity.learn(lab, address, f"{key.get_name()} {key.get_base64()}", port=port)
