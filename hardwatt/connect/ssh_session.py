"""A command on a node that runs: its outputs to their end, or its lines while it is held open."""

import contextlib
import threading
import time

import paramiko

from hardwatt.core.errors import WaitError
from hardwatt.core.limits import Limits

SESSION_END = 10
"""Seconds that a held command gets to end with its context; a host that went away without a word never says so."""


class LateError(Exception):
    """A limit passed; the text goes on from the name of the command."""


def outputs(channel: paramiko.Channel, limits: Limits, started: float) -> tuple[str, str]:
    """Return both outputs of a command to their end. Raises ``TimeoutError`` where both are silent, ``LateError``."""
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
                raise LateError(f"did not end within {limits.whole:.0f} s")
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
