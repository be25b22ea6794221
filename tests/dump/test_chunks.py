"""Samples each once, at their exact millisecond, whatever the server's limits and moods."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardwatt.dump.chunks import fetch
from hardwatt.dump.client import Client
from hardwatt.dump.errors import IncompleteError, QueryError, TooMuchError, UnreachableError
from tests.dump.conftest import T0, Server

BUSY = (503, '{"status":"error","errorType":"unavailable","error":"starting"}')


def client(server: Server, **options: float) -> Client:
    return Client(server.url, **{"backoff": 0.0, "timeout": 20.0, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("left_open", [True, False])
@pytest.mark.parametrize("longest_ms", [5_000, 7_777, 60_000, 3_600_000])
def test_no_sample_is_lost_or_doubled_at_a_border(prometheus: Server, left_open: bool, longest_ms: int) -> None:
    prometheus.left_open = left_open
    prometheus.add({"__name__": "a_total", "x": "1"}, T0, 1000, [str(i) for i in range(61)])
    prometheus.add({"__name__": "a_total", "x": "2"}, T0 + 123, 1000, [str(i) for i in range(61)])
    with client(prometheus) as asking:
        found = fetch(asking, "a_total", T0, T0 + 60_123, longest_ms=longest_ms)
    assert [one.labels["x"] for one in found.samples] == ["1", "2"]
    for one, offset in zip(found.samples, (0, 123), strict=True):
        assert one.ts.tolist() == [T0 + offset + 1000 * i for i in range(61)]
        assert one.values.tolist() == list(range(61))
    assert len(found.bodies) == -(-60_123 // longest_ms)


def test_samples_outside_the_stretch_are_left_out(prometheus: Server) -> None:
    prometheus.left_open = False
    prometheus.add({"__name__": "a_total"}, T0 - 1, 1, ["0", "1", "2", "3"])
    with client(prometheus) as asking:
        found = fetch(asking, "a_total", T0, T0 + 1)
    assert found.samples[0].ts.tolist() == [T0, T0 + 1]


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 90_000), max_size=60), st.integers(5_000, 50_000), st.booleans())
def test_any_times_come_back(prometheus: Server, times: set[int], longest_ms: int, left_open: bool) -> None:
    prometheus.left_open = left_open
    prometheus.series = [({"__name__": "a_total"}, [(T0 + ms, str(ms)) for ms in sorted(times)])] if times else []
    with client(prometheus) as asking:
        found = fetch(asking, "a_total", T0, T0 + 90_000, longest_ms=longest_ms)
    assert [ts for one in found.samples for ts in one.ts.tolist()] == [T0 + ms for ms in sorted(times)]


def test_pieces_are_halved_where_the_server_says_too_much(prometheus: Server) -> None:
    prometheus.most_points = 100
    prometheus.add({"__name__": "a_total"}, T0, 1000, [str(i) for i in range(1000)])
    with client(prometheus) as asking:
        found = fetch(asking, "a_total", T0, T0 + 999_000)
    assert found.samples[0].values.tolist() == list(range(1000))
    assert all(body.status == 200 for body in found.bodies)


def test_too_much_in_the_smallest_piece_is_said(prometheus: Server) -> None:
    prometheus.most_samples = 0
    prometheus.add({"__name__": "a_total"}, T0, 1000, [str(i) for i in range(100)])
    with client(prometheus) as asking, pytest.raises(TooMuchError, match="too many samples"):
        fetch(asking, "a_total", T0, T0 + 99_000)


def test_a_busy_server_is_asked_again(prometheus: Server) -> None:
    prometheus.add({"__name__": "a_total"}, T0, 1000, ["1", "2"])
    prometheus.faults = [BUSY] * 3
    with client(prometheus) as asking:
        found = fetch(asking, "a_total", T0, T0 + 1000)
    assert found.samples[0].values.tolist() == [1, 2]
    assert len(prometheus.queries) == 4


def test_a_server_that_stays_busy_is_asked_for_less_and_then_given_up(prometheus: Server) -> None:
    prometheus.faults = [BUSY] * 1000
    with client(prometheus) as asking, pytest.raises(TooMuchError, match="cannot answer a_total"):
        fetch(asking, "a_total", T0, T0 + 60_000)
    assert 10 <= len(prometheus.queries) <= 40


def test_a_silent_server_is_asked_for_less(prometheus: Server) -> None:
    prometheus.add({"__name__": "a_total"}, T0, 1000, [str(i) for i in range(60)])
    prometheus.delays = [1.5, 1.5]
    with client(prometheus, timeout=0.4) as asking:
        found = fetch(asking, "a_total", T0, T0 + 59_000)
    assert found.samples[0].values.tolist() == list(range(60))
    assert len(found.bodies) == 2


def test_a_wrong_query_is_not_repeated(prometheus: Server) -> None:
    with client(prometheus) as asking, pytest.raises(QueryError, match="cannot parse"):
        fetch(asking, "a_total}", T0, T0 + 1000)
    assert len(prometheus.queries) == 1


def test_no_server() -> None:
    with Client("http://127.0.0.1:9", backoff=0.0, retries=1) as asking, pytest.raises(UnreachableError) as caught:
        fetch(asking, "a_total", T0, T0 + 1000)
    assert caught.value.hint == "invoke lab.forward prometheus"


@pytest.mark.parametrize("body", ["<html>proxy</html>", '{"status":"success"}', "[]"])
def test_something_else_than_an_answer(prometheus: Server, body: str) -> None:
    prometheus.faults = [(200, body)]
    with client(prometheus) as asking, pytest.raises(IncompleteError, match="something else"):
        fetch(asking, "a_total", T0, T0 + 1000)


WARNED = '{"status":"success","warnings":["store-2 did not answer"],"data":'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<html>proxy</html>", "Expecting value"),
        ("\udcff", "decode"),
        ('{"status":"success"}', "no success"),
        ('{"status":"error","data":{"result":[]}}', "no success"),
        ("[]", "no success"),
        ('{"status":"success","data":[]}', "no result"),
        ('{"status":"success","data":{}}', "no result"),
        ('{"status":"success","data":{"result":{}}}', "no result"),
        (WARNED + '{"result":[]}}', "store-2 did not answer"),
    ],
)
def test_something_else_than_a_result(prometheus: Server, body: str, reason: str) -> None:
    prometheus.faults = [(200, body)]
    with client(prometheus) as asking, pytest.raises(IncompleteError, match=f"answered up with.*{reason}"):
        asking.query("up")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<html>proxy</html>", "Expecting value"),
        ('{"status":"success","data":{}}', "no label values"),
        (WARNED + '["up"]}', "store-2 did not answer"),
    ],
)
def test_something_else_than_names(prometheus: Server, body: str, reason: str) -> None:
    prometheus.faults = [(200, body)]
    with client(prometheus) as asking, pytest.raises(IncompleteError, match=f"answered up with.*{reason}"):
        asking.names("up", T0, T0 + 1000)


@pytest.mark.parametrize(
    ("status", "kind"), [(400, QueryError), (404, QueryError), (413, TooMuchError), (422, TooMuchError)]
)
def test_a_refusal_is_the_same_for_a_query_names_and_samples(
    prometheus: Server, status: int, kind: type[Exception]
) -> None:
    prometheus.faults = [(status, "not \x1b[31mthis")] * 3
    with client(prometheus) as asking:
        for ask in (
            lambda: asking.query("up"),
            lambda: asking.names("up", T0, T0 + 1000),
            lambda: asking.samples("up[1000ms]", T0),
        ):
            with pytest.raises(kind, match=rf"refuses up.* {status} \(b'not \\x1b\[31mthis'\)"):
                ask()
    assert prometheus.faults == []


def test_a_busy_server_is_asked_again_for_a_query_and_names(prometheus: Server) -> None:
    prometheus.add({"__name__": "a_total"}, T0, 1000, ["1"])
    prometheus.faults = [BUSY] * 2
    with client(prometheus) as asking:
        assert asking.query("1", T0) == [T0 / 1000, "1"]
        prometheus.faults = [BUSY] * 2
        assert asking.names("a_total", T0, T0 + 1000) == ["a_total"]
        prometheus.faults = [BUSY] * 9
        with pytest.raises(TooMuchError, match="cannot answer 1 now"):
            asking.query("1")


def test_two_values_of_one_moment_are_refused(prometheus: Server) -> None:
    prometheus.add({"__name__": "a_total"}, T0, 1000, ["1", "2"])
    prometheus.add({"__name__": "a_total"}, T0, 1000, ["1", "3"])
    with client(prometheus) as asking, pytest.raises(IncompleteError, match="two values"):
        fetch(asking, "a_total", T0, T0 + 1000)


def test_values_that_are_not_numbers_and_many_digits(prometheus: Server) -> None:
    prometheus.add({"__name__": "a_total"}, T0 + 7, 1000, ["NaN", "+Inf", "-Inf", "1790000000.1234567", "1e-09"])
    with client(prometheus) as asking:
        one = fetch(asking, "a_total", T0, T0 + 9000).samples[0]
    assert np.isnan(one.values[0])
    assert one.values[1:].tolist() == [float("inf"), float("-inf"), 1790000000.1234567, 1e-09]
    assert one.ts[0] == T0 + 7


def test_a_bearer_token_is_sent_and_not_kept(prometheus: Server) -> None:
    prometheus.add({"__name__": "a_total"}, T0, 1000, ["1"])
    with Client(prometheus.url, headers={"Authorization": "Bearer sesame"}) as asking:
        found = fetch(asking, "a_total", T0, T0 + 1000)
        asking.query("1")
        asking.names("a_total", T0, T0 + 1000)
    assert [seen["Authorization"] for seen in prometheus.headers_seen] == ["Bearer sesame"] * 3
    assert "sesame" not in repr(found.bodies)
