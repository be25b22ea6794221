from collections.abc import Iterator

import pytest

from hardwatt.core import wait as wait_module
from hardwatt.core.errors import WaitError
from hardwatt.core.wait import set_timeout_factor, timeout_factor, wait, wait_at_most


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(wait_module, "time", made)
    yield made


def states(*values: str) -> "Iterator[str]":
    yield from values
    raise AssertionError("polled more often than planned")


def test_success_must_hold_several_times_in_a_row(clock: Clock) -> None:
    source = states("up", "down", "up", "up")
    wait(lambda: next(source), lambda s: s == "up", what="x", timeout=60, successes=2)
    assert clock.now == 103


def test_the_last_state_is_in_the_error(clock: Clock) -> None:
    with pytest.raises(WaitError, match="not ready after 5 s; last seen: down") as caught:
        wait(lambda: "down", lambda s: s == "up", what="x", timeout=5, hint="look")
    assert caught.value.hint == "look"
    assert clock.now == 105


def test_a_reason_ends_it_at_once(clock: Clock) -> None:
    with pytest.raises(WaitError, match="x: it is broken"):
        wait(lambda: "bad", lambda s: False, what="x", timeout=60, error=lambda s: "it is broken")
    assert clock.now == 100


def test_it_looks_at_least_once(clock: Clock) -> None:
    assert wait(lambda: "up", lambda s: s == "up", what="x", timeout=0) == "up"


def test_an_emulated_machine_gets_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("hardwatt.core.wait.time.monotonic", lambda: now[0])
    monkeypatch.setattr("hardwatt.core.wait.time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    set_timeout_factor(5)
    try:
        with pytest.raises(WaitError, match="not ready after 50 s"):
            wait(lambda: False, bool, what="it", timeout=10)
        assert timeout_factor() == 5
    finally:
        set_timeout_factor(1)
    assert now[0] == 50


def test_a_wait_with_an_end_gives_the_last_state_ready_or_not(clock: Clock) -> None:
    source = states("down", "up")
    assert wait_at_most(lambda: next(source), lambda state: state == "up", what="x", timeout=60) == "up"
    assert clock.now == 101
    source = states("one", "two", "three")
    assert wait_at_most(lambda: next(source), lambda _: False, what="x", timeout=2) == "three"
    assert wait_at_most(lambda: "down", lambda _: False, what="x", timeout=0) == "down"


def test_an_error_of_the_look_itself_is_not_taken_for_the_end(clock: Clock) -> None:
    def look() -> str:
        raise WaitError("something else did not come")

    with pytest.raises(WaitError, match="something else"):
        wait_at_most(look, lambda _: True, what="x", timeout=60)


def test_a_wait_with_an_end_is_longer_on_a_slow_machine(clock: Clock) -> None:
    set_timeout_factor(3.0)
    try:
        wait_at_most(lambda: "down", lambda _: False, what="x", timeout=10)
    finally:
        set_timeout_factor(1.0)
    assert clock.now == 130
