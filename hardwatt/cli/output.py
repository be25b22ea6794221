"""Standard output into a pipe: a reader such as ``head`` may leave before all is printed."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator

READER_LEFT = 141
"""Exit code then, as of a program that SIGPIPE ends."""


class ReaderLeftError(Exception):
    """Nobody reads the standard output any more."""


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """Raise ``ReaderLeftError`` if the reader of the standard output left; what is printed later is dropped.

    A connection to a host that broke is a ``BrokenPipeError`` too, and passes.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_left():
            raise
        _drop()
        raise ReaderLeftError from None
    except BaseException as ended:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _drop()
            if not getattr(ended, "code", 1):  # help was printed: SystemExit or Invoke's Exit
                raise ReaderLeftError from None
        raise


def _drop() -> None:
    """Drop what is printed from now on; the interpreter's own flush at the end would fail otherwise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _reader_left() -> bool:
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # POLLERR is always reported
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError):  # no file: what a test or a notebook puts in its place
        return False
