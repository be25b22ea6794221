"""SSH to a node with paramiko; the host key is always checked against the lab's own file."""

import base64
import contextlib
import hashlib
import logging
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from types import TracebackType

import paramiko
from paramiko.pkey import UnknownKeyType

from hardwatt import reach, unreachable
from hardwatt.door import Result
from hardwatt.endpoint import Endpoint
from hardwatt.errors import CommandError, LabError, RefusedError

logger = logging.getLogger("hardwatt.ssh")
# what it has to say is in the errors here; without a handler Python would print its tracebacks
logging.getLogger("paramiko").addHandler(logging.NullHandler())
_CHANGED = re.compile(r"IDENTIFICATION HAS CHANGED.*?(SHA256:[A-Za-z0-9+/]+)", re.DOTALL)
"""What OpenSSH says of a key that is not the known one; the fingerprint is the offered one's."""
SESSION_END = 10
"""Seconds that a held command gets to end with its context; a host that went away without a word never says so."""
KEEPALIVE = 30
"""Seconds between signs of life on a connection that is held without traffic."""


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as OpenSSH prints it (``SHA256:...``)."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def require_known(end: Endpoint) -> None:
    """Raise ``LabError`` where the lab knows no key of the host, or of the one on the way to it."""
    keys = paramiko.HostKeys(str(end.known_hosts)) if end.known_hosts.exists() else paramiko.HostKeys()
    hops = [reach.Hop.parse(end.jump)] if end.jump else []
    for address, port in [*((hop.address, hop.port) for hop in hops), (end.address, end.port)]:
        name = reach.known_name(address, port)
        if keys.lookup(name) is None:
            raise LabError(f"the lab does not know the host key of {name}", hint=f"invoke lab.trust {address}")


def _changed(end: Endpoint, offered: str) -> RefusedError:
    """Return the error for a jump host whose key is not the known one."""
    hop = reach.Hop.parse(end.jump)
    known: Mapping[str, paramiko.PKey] = paramiko.HostKeys(str(end.known_hosts)).lookup(hop.known_as) or {}
    return RefusedError(
        f"the host key of {hop.known_as}, on the way to {end.address}, has changed: known is "
        f"{' and '.join(map(fingerprint, known.values()))}, offered is {offered}",
        hint=f"find out why; if the machine was really made anew: invoke lab.trust {hop.address}",
    )


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise RefusedError(
            f"the host key of {hostname} is not known; the host offers {fingerprint(key)}",
            # the name as known_hosts has it, [ADDRESS]:PORT, is no host of lab.toml
            hint=f"invoke lab.trust {hostname[1:].partition(']')[0] if hostname.startswith('[') else hostname}",
        )


def private_key(end: Endpoint) -> paramiko.PKey:
    """Return the key that logs in to the node.

    paramiko by itself tries each kind of key on the file, and reports the last kind's complaint in place of a refused
    login. Raises ``LabError`` for a file that is no key, or is encrypted.
    """
    try:
        return paramiko.PKey.from_path(end.key)
    except (TypeError, ValueError, OSError, paramiko.SSHException, UnknownKeyType) as error:
        raise unreachable.bad_key(end, error) from error


class Route(paramiko.ProxyCommand):
    """The way through a jump host. paramiko closes it more than once, and never waits for its end."""

    _said: str | None = None

    def close(self) -> None:
        self.process.terminate()

    def recv(self, size: int) -> bytes:
        try:
            found: bytes = super().recv(size)
        except TimeoutError:
            if self.process.poll() is None:
                raise
            return b""  # without it paramiko waits on for a greeting from a command that has ended
        return found

    def last_words(self) -> str:
        """End the route and return what ssh printed on it."""
        if self._said is None:
            self.close()
            _, said = self.process.communicate(timeout=10)
            self._said = "; ".join(said.decode(errors="replace").split("\n")).strip("; \r")
        return self._said


class Ssh:
    """A connection to one node, used as a context manager."""

    def __init__(self, endpoint: Endpoint, *, timeout: float = 10) -> None:
        self._endpoint = endpoint
        self._client = paramiko.SSHClient()
        self._timeout = timeout
        self._way_there: Route | None = None

    def __enter__(self) -> "Ssh":
        end = self._endpoint
        if end.jump:  # what ssh says on the way is harder to read
            require_known(end)
        if end.known_hosts.exists():
            self._client.load_host_keys(str(end.known_hosts))
        self._client.set_missing_host_key_policy(_Refuse())
        try:
            self._client.connect(
                end.address, end.port, end.user, sock=self._way(),
                pkey=private_key(end), allow_agent=False, look_for_keys=False,
                timeout=self._timeout, banner_timeout=self._timeout, auth_timeout=self._timeout,
            )  # fmt: skip
        except paramiko.BadHostKeyException as error:
            self._close()
            raise RefusedError(
                f"the host key of {end.address} has changed: known is "
                f"{fingerprint(error.expected_key)}, offered is {fingerprint(error.key)}",
                hint=f"find out why; if the machine was really made anew: invoke lab.trust {end.address}",
            ) from error
        except (paramiko.SSHException, OSError, LabError) as error:
            said = self._close()
            if isinstance(error, LabError):
                raise
            if end.jump and (offered := _CHANGED.search(said)):
                raise _changed(end, offered.group(1)) from error
            raise unreachable.explained(end, error, said) from error
        return self

    def _way(self) -> Route | None:
        """Return the connection through the jump host, if there is one; its host key is checked as strictly."""
        end = self._endpoint
        command = reach.proxy_command(end, f"{end.address}:{end.port}")
        self._way_there = Route(command) if command else None
        return self._way_there

    def _close(self) -> str:
        """Close the connection, and wait for the end of the way through a jump host; return what ssh said there."""
        transport = self._client.get_transport()
        self._client.close()
        if self._way_there is not None:
            if transport is not None:
                transport.join(10)  # it reads from the way until then
            said = self._way_there.last_words()
            self._way_there = None
            return said
        return ""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def run(
        self,
        command: str,
        *,
        stdin: str | bytes | None = None,
        timeout: float = 60,
        check: bool = True,
    ) -> Result:
        """Run a shell command on the node; secrets go through ``stdin``.

        Raises ``CommandError`` on a non-zero exit (unless ``check`` is false) or after ``timeout``
        seconds without output.
        """
        logger.debug("ssh %s: %s", self._endpoint.name, command)
        started = time.monotonic()
        argv = ("ssh", self._endpoint.name, command)
        try:
            source, out, err = self._client.exec_command(command, timeout=timeout)
            if stdin is not None:
                source.write(stdin)
            source.channel.shutdown_write()
            stdout, stderr = out.read().decode(errors="replace"), err.read().decode(errors="replace")
            code = out.channel.recv_exit_status()
        except TimeoutError as error:
            raise CommandError(argv, None) from error
        except (paramiko.SSHException, OSError) as error:
            raise LabError(f"SSH to {self._endpoint.name} broke off: {error}", hint="invoke lab.status") from error
        if check and code != 0:
            raise CommandError(argv, code, stdout, stderr)
        return Result(argv, code, stdout, stderr, time.monotonic() - started)

    @contextlib.contextmanager
    def session(self, command: str, *, stdin: str = "") -> Iterator[Iterator[str]]:
        """Run a command on the node while the context lasts; give the lines that it prints, as they come.

        Its standard input begins with ``stdin`` (a secret, perhaps) and stays open until the end of the context; the
        command has to end with it.
        """
        try:
            source, out, _ = self._client.exec_command(command)
            source.channel.get_transport().set_keepalive(KEEPALIVE)
            source.write(stdin)
            source.flush()
        except (paramiko.SSHException, OSError) as error:
            raise LabError(f"SSH to {self._endpoint.name} broke off: {error}", hint="invoke lab.status") from error
        try:
            yield (line.rstrip("\n") for line in out)
        finally:
            with contextlib.suppress(paramiko.SSHException, OSError, EOFError):  # the host has gone meanwhile
                source.channel.shutdown_write()
                out.channel.status_event.wait(SESSION_END)

    def alive(self) -> bool:
        """Return whether the connection still stands, as far as this end knows."""
        transport = self._client.get_transport()
        return transport is not None and transport.is_active()

    def read(self, path: str) -> bytes:
        """Return a file of the node."""
        return base64.b64decode(self.run(f"base64 {shlex.quote(path)}").stdout)

    def put(self, data: bytes, path: str, *, mode: int = 0o644) -> None:
        """Write a file on the node: beside its place first, then renamed."""
        target = shlex.quote(path)
        temporary = shlex.quote(f"{path}.hardwatt-new")
        self.run(
            f"umask 077 && cat > {temporary} && chmod {mode:o} {temporary} && mv -f {temporary} {target}",
            stdin=data,
        )
