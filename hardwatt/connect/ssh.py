"""SSH to a node with paramiko; the host key is always checked against the lab's own file."""

import base64
import contextlib
import dataclasses
import hashlib
import logging
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType

import paramiko
from paramiko.pkey import UnknownKeyType

from hardwatt.connect import ssh_routes, unreachable
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import CommandError, LabError, RefusedError, WaitError
from hardwatt.core.limits import REMOTE, Limits
from hardwatt.core.process import Result

logger = logging.getLogger("hardwatt.connect.ssh")
# what it has to say is in the errors here; without a handler Python would print its tracebacks
logging.getLogger("paramiko").addHandler(logging.NullHandler())
_CHANGED = re.compile(r"IDENTIFICATION HAS CHANGED.*?(SHA256:[A-Za-z0-9+/]+)", re.DOTALL)
"""What OpenSSH says of a key that is not the known one; the fingerprint is the offered one's."""
_LATE = re.compile(r"^(Authentication timeout|Key-exchange timed out|No existing session)")
"""What paramiko says where a limit of its own passed."""
SESSION_END = 10
"""Seconds that a held command gets to end with its context; a host that went away without a word never says so."""


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as OpenSSH prints it (``SHA256:...``)."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def require_known(end: Endpoint) -> None:
    """Raise ``LabError`` where the lab knows no key of the host, or of the one on the way to it."""
    keys = paramiko.HostKeys(str(end.known_hosts)) if end.known_hosts.exists() else paramiko.HostKeys()
    hops = [ssh_routes.Hop.parse(end.jump)] if end.jump else []
    for address, port in [*((hop.address, hop.port) for hop in hops), (end.address, end.port)]:
        name = ssh_routes.known_name(address, port)
        if keys.lookup(name) is None:
            raise LabError(f"the lab does not know the host key of {name}", hint=f"invoke lab.trust {address}")


def _changed(end: Endpoint, offered: str) -> RefusedError:
    """Return the error for a jump host whose key is not the known one."""
    hop = ssh_routes.Hop.parse(end.jump)
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
            try:
                _, said = self.process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                _, said = self.process.communicate()
            self._said = "; ".join(said.decode(errors="replace").split("\n")).strip("; \r")
        return self._said


def _broke(error: Exception) -> bool:
    """Return whether the error is paramiko's own, and neither a refused login nor the socket's."""
    return type(error) is paramiko.SSHException


class _LateError(Exception):
    """A limit passed; the text goes on from the name of the command."""


def _outputs(channel: paramiko.Channel, limits: Limits, started: float) -> tuple[str, str]:
    """Return both outputs of a command to their end. Raises ``TimeoutError`` where both are silent, ``_LateError``."""
    out, err = bytearray(), bytearray()
    for target, receive in ((out, channel.recv), (err, channel.recv_stderr)):
        while True:
            try:
                data = receive(65536)
            except TimeoutError:
                if target is err or not channel.recv_stderr_ready():
                    raise
                err += channel.recv_stderr(2**24)  # it spoke, on the other output
                continue
            if time.monotonic() - started > limits.whole:
                raise _LateError(f"did not end within {limits.whole:.0f} s")
            if not data:
                break
            target += data
    return out.decode(errors="replace"), err.decode(errors="replace")


class Session:
    """The lines of a command that is held open, and its end."""

    def __init__(self, channel: paramiko.Channel, what: str, limit: float, hint: str) -> None:
        """``limit``: seconds from now for every line that is read; what comes later is not awaited."""
        self._channel = channel
        self._what, self._limit, self._hint = what, limit, hint
        self._deadline = time.monotonic() + limit
        self._rest = b""
        self._silent = False
        self._ended = threading.Event()

    def __iter__(self) -> "Session":
        return self

    def __next__(self) -> str:
        while b"\n" not in self._rest:
            left = self._deadline - time.monotonic()
            try:
                self._channel.settimeout(max(left, 0.001))
                data = self._channel.recv(4096)
            except TimeoutError:
                data = None
            if data is None or left <= 0:
                self._silent = True
                text = f"{self._what} did not answer within {self._limit:.0f} s"
                raise WaitError(text, hint=self._hint)
            if not data:
                break
            self._rest += data
        if not self._rest:
            raise StopIteration
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def beat(self, pause: float) -> None:
        """Write an empty line every ``pause`` seconds: the command ends itself where they stop to come."""

        def write() -> None:
            with contextlib.suppress(paramiko.SSHException, OSError, EOFError):  # the host has gone meanwhile
                while not self._ended.wait(pause):
                    self._channel.sendall(b"\n")

        self._channel.settimeout(self._limit)
        threading.Thread(target=write, name=f"beat: {self._what}", daemon=True).start()

    def alive(self) -> bool:
        """Return whether the command still runs, as far as this end knows."""
        return not self._channel.closed and not self._channel.status_event.is_set()

    def end(self) -> None:
        """End the command's input, and wait a while for the command."""
        self._ended.set()
        with contextlib.suppress(paramiko.SSHException, OSError, EOFError):  # the host has gone meanwhile
            self._channel.shutdown_write()
            if not self._silent:
                self._channel.status_event.wait(SESSION_END)


class Ssh:
    """A connection to one node, used as a context manager."""

    def __init__(self, endpoint: Endpoint, *, timeout: float = 0, limits: Limits = REMOTE) -> None:
        """``timeout`` replaces the limit for connecting."""
        self._endpoint = endpoint
        self._client = paramiko.SSHClient()
        self._limits = limits.patient()
        self._timeout = timeout or self._limits.connect
        self._way_there: Route | None = None

    def __enter__(self) -> "Ssh":
        end = self._endpoint
        if end.jump:  # what ssh says on the way is harder to read
            require_known(end)
        if end.known_hosts.exists():
            self._client.load_host_keys(str(end.known_hosts))
        self._client.set_missing_host_key_policy(_Refuse())
        started = time.monotonic()
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
            late = _LATE.search(str(error)) is not None
            if not said and (late or (_broke(error) and time.monotonic() - started > self._timeout)):
                raise unreachable.mute(end, self._timeout) from error
            raise unreachable.explained(end, error, said) from error
        return self

    def _way(self) -> Route | None:
        """Return the connection through the jump host, if there is one; its host key is checked as strictly."""
        end = self._endpoint
        command = ssh_routes.proxy_command(end, f"{end.address}:{end.port}")
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
        timeout: float = 0,
        check: bool = True,
    ) -> Result:
        """Run a shell command on the node; secrets go through ``stdin``.

        ``timeout`` replaces the limit for silence. Raises ``CommandError`` on a non-zero exit (unless ``check`` is
        false), and where the node accepts the command too late, is silent for too long or takes too long in all.
        """
        logger.debug("ssh %s: %s", self._endpoint.name, command)
        started = time.monotonic()
        argv = ("ssh", self._endpoint.name, command)
        limits = dataclasses.replace(self._limits, silence=timeout or self._limits.silence)
        try:
            channel = self._accepted(command)
            channel.settimeout(limits.silence)
            if stdin is not None:
                channel.sendall(stdin.encode() if isinstance(stdin, str) else stdin)
            channel.shutdown_write()
            stdout, stderr = _outputs(channel, limits, started)
            if not channel.status_event.wait(limits.silence):
                raise _LateError(f"did not end within {limits.silence:.0f} s after its output")
            code = channel.recv_exit_status()
        except _LateError as error:
            late = f"on {self._where} {error}"
            raise CommandError(argv, None, reason=late, hint=unreachable.by_hand(self._endpoint)) from None
        except TimeoutError as error:
            late = f"on {self._where} printed nothing for {limits.silence:.0f} s"
            raise CommandError(argv, None, reason=late, hint=unreachable.by_hand(self._endpoint)) from error
        except (paramiko.SSHException, OSError) as error:
            raise unreachable.broken(self._endpoint, error) from error
        if check and code != 0:
            raise CommandError(argv, code, stdout, stderr)
        return Result(argv, code, stdout, stderr, time.monotonic() - started)

    @contextlib.contextmanager
    def session(self, command: str, *, what: str, stdin: str = "") -> Iterator["Session"]:
        """Run a command on the node while the context lasts; give the lines that it prints, as they come.

        Its standard input begins with ``stdin`` (a secret, perhaps) and stays open until the end of the context; the
        command has to end with it. ``what`` names the command in an error.
        """
        try:
            channel = self._accepted(command)
            channel.settimeout(self._limits.first_answer)
            channel.sendall(stdin.encode())
        except _LateError as error:
            raise WaitError(f"{what} on {self._where} {error}", hint=unreachable.by_hand(self._endpoint)) from None
        except (paramiko.SSHException, OSError) as error:
            raise unreachable.broken(self._endpoint, error) from error
        held = Session(
            channel, f"{what} on {self._where}", self._limits.first_answer, unreachable.by_hand(self._endpoint)
        )
        try:
            yield held
        finally:
            held.end()

    def _accepted(self, command: str) -> paramiko.Channel:
        """Return the channel of a command that the node has begun.

        paramiko waits for that without end; the connection is closed where it lasts too long. Raises ``_LateError``.
        """
        transport = self._client.get_transport()
        if transport is None:
            raise paramiko.SSHException("there is no connection")
        limit = self._limits.first_answer
        late = threading.Event()

        def close() -> None:
            late.set()
            transport.close()

        timer = threading.Timer(limit, close)
        timer.daemon = True
        timer.start()
        try:
            channel = transport.open_session(timeout=limit + 5)
            channel.exec_command(command)
        except (paramiko.SSHException, OSError, EOFError) as error:
            if late.is_set():
                raise _LateError(f"was not accepted within {limit:.0f} s") from error
            raise
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():
            raise _LateError(f"was not accepted within {limit:.0f} s")
        return channel

    @property
    def _where(self) -> str:
        end = self._endpoint
        return f"{end.user}@{end.address}:{end.port}" + (f" through {end.jump}" if end.jump else "")

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
