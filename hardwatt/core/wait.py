"""Waiting for a state instead of for a time."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from hardwatt.core.errors import WaitError

T = TypeVar("T")
logger = logging.getLogger("hardwatt.core.wait")


_timeout_factor = 1.0


def set_timeout_factor(factor: float) -> None:
    """Make every wait of this process longer: for a machine whose processor is emulated."""
    global _timeout_factor
    _timeout_factor = factor


def timeout_factor() -> float:
    """Return by how much waits are longer than they say."""
    return _timeout_factor


def wait(
    poll: Callable[[], T],
    ready: Callable[[T], bool],
    *,
    what: str,
    timeout: float,
    error: Callable[[T], str | None] | None = None,
    delay: float = 1.0,
    successes: int = 1,
    describe: Callable[[T], str] = str,
    hint: str = "",
) -> T:
    """Poll until ``ready(state)`` holds ``successes`` times in a row, and return the state.

    ``error(state)`` may return a reason why it can never become ready, which ends the wait at
    once. The state is looked at least once, also with a ``timeout`` of 0 seconds; changes are
    logged, repetitions are not.

    Raises ``WaitError`` with the last state, described.
    """
    timeout *= _timeout_factor
    deadline = time.monotonic() + timeout
    in_a_row = 0
    last = ""
    while True:
        state = poll()
        text = describe(state)
        if text != last:
            logger.info("%s: %s", what, text)
            last = text
        if error is not None and (reason := error(state)):
            raise WaitError(f"{what}: {reason}", hint=hint)
        in_a_row = in_a_row + 1 if ready(state) else 0
        if in_a_row >= successes:
            return state
        if time.monotonic() >= deadline:
            raise WaitError(f"{what}: not ready after {timeout:.0f} s; last seen: {text}", hint=hint)
        time.sleep(delay)


def wait_at_most(
    poll: Callable[[], T],
    ready: Callable[[T], bool],
    *,
    what: str,
    timeout: float,
    delay: float = 1.0,
    describe: Callable[[T], str] = str,
) -> T:
    """Poll until ``ready(state)``, for ``timeout`` seconds at most; return the last state, ready or not."""
    deadline = time.monotonic() + timeout * _timeout_factor
    return wait(
        poll,
        lambda state: ready(state) or time.monotonic() >= deadline,
        what=what,
        timeout=timeout,
        delay=delay,
        describe=describe,
    )
