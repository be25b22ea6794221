"""Long dumps: complete, each sample once, in pieces that the server takes, and going on after any end."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import RefusedError, SettingsError
from hardwatt.dump.client import Client
from hardwatt.dump.errors import IncompleteError, TooMuchError, UnreachableError
from hardwatt.dump.job import DumpSpec, dump, expanded, moment, read_token, window_of
from hardwatt.dump.stream import MOST_UNANSWERED, Options, Progress
from tests.dump.conftest import T0, Server

HOURS = 3
LAST = T0 + HOURS * 3_600_000
WANTED = DumpSpec(("a_total", "b_total"), T0, LAST)


def client(server: Server, **options: Any) -> Client:
    return Client(server.url, **{"backoff": 0.0, "timeout": 20.0, **options})


def planted(server: Server, series: int = 4, step_ms: int = 15_000) -> int:
    """Plant ``series`` of a_total and one of b_total over the hours; return how many samples there are."""
    count = (LAST - T0) // step_ms + 1
    for number in range(series):
        values = [str(number + i / 10) for i in range(count)]
        server.add({"__name__": "a_total", "x": str(number)}, T0, step_ms, values)
    server.add({"__name__": "b_total"}, T0 + 7, step_ms, [str(i) for i in range(count - 1)])
    server.add({"__name__": "hardwatt_meter_info", "source": "rapl"}, T0, 1000, ["1"])
    return series * count + count - 1


def samples(folder: Path) -> pl.DataFrame:
    bundle = Bundle.open(folder)
    bundle.verify()
    return pl.concat([bundle.samples(metric).collect() for metric in bundle.metrics])


@pytest.mark.parametrize("left_open", [True, False])
def test_every_sample_is_there_once(prometheus: Server, tmp_path: Path, left_open: bool) -> None:
    prometheus.left_open = left_open
    count = planted(prometheus)
    with client(prometheus) as asking:
        folder = dump(asking, WANTED, tmp_path / "d", options=Options(target=300))
    found = samples(folder)
    assert found.height == count
    assert found.select("series_id", "ts").unique().height == count
    bundle = Bundle.open(folder)
    assert bundle.manifest.source == "rapl"
    assert [run.run_id for run in bundle.runs] == ["dump"]
    assert len(list((folder / "samples/metric=a_total").rglob("*.parquet"))) > 5
    raw = bundle.raw("dump", "a_total")
    held = sum(len(row["values"]) for body in raw for row in json.loads(body.body)["data"]["result"])
    assert held >= found.height - (LAST - T0) // 15_000
    series = {labels["x"] for labels in bundle.series.values() if "x" in labels}
    assert series == {"0", "1", "2", "3"}


def test_answers_are_as_large_as_wanted_and_no_larger(prometheus: Server, tmp_path: Path) -> None:
    planted(prometheus, series=10)
    held: list[int] = []
    with client(prometheus) as asking:
        ask = asking.block

        def counted(query: str, at_ms: int) -> Any:
            answer = ask(query, at_ms)
            held.append(answer[0].ts.size)
            return answer

        asking.block = counted  # type: ignore[method-assign]
        dump(asking, WANTED, tmp_path / "d", options=Options(target=500, parallel=2))
    assert max(held) <= 700
    assert np.median(held) > 200


@pytest.mark.parametrize("limit", ["most_points", "most_samples"])
def test_the_servers_limits_are_lived_with(prometheus: Server, tmp_path: Path, limit: str) -> None:
    count = planted(prometheus)
    setattr(prometheus, limit, 100)
    with client(prometheus) as asking:
        folder = dump(asking, WANTED, tmp_path / "d", options=Options(target=10_000))
    assert samples(folder).height == count
    assert len(prometheus.queries) < 200


def test_too_much_even_in_the_shortest_stretch_is_said(prometheus: Server, tmp_path: Path) -> None:
    planted(prometheus)
    prometheus.most_samples = 0
    with client(prometheus) as asking, pytest.raises(TooMuchError, match="too many samples"):
        dump(asking, WANTED, tmp_path / "d")


def test_one_request_in_twenty_that_fails_costs_nothing(prometheus: Server, tmp_path: Path) -> None:
    count = planted(prometheus)
    rng = np.random.default_rng(5)
    prometheus.failing = lambda: bool(rng.random() < 0.05)
    with client(prometheus) as asking:
        folder = dump(asking, WANTED, tmp_path / "d", options=Options(target=60))
    assert samples(folder).height == count
    assert prometheus.failed > 3


def test_a_server_that_goes_and_comes_back_is_waited_for(prometheus: Server, tmp_path: Path) -> None:
    count = planted(prometheus)
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)

    back, once = threading.Timer(0.8, prometheus.down.clear), threading.Lock()
    with client(prometheus, retries=0) as asking:
        ask = asking.block

        def dies_once(query: str, at_ms: int) -> Any:
            if len(prometheus.queries) > 9 and once.acquire(blocking=False):
                prometheus.down.set()
                back.start()
            return ask(query, at_ms)

        asking.block = dies_once  # type: ignore[method-assign]
        folder = dump(asking, WANTED, tmp_path / "d", options=Options(target=300), say=say)
    back.join()
    assert samples(folder).height == count
    assert "100% of the time" in told[-1]


def test_a_server_that_stays_away_ends_the_dump_and_the_next_one_goes_on(prometheus: Server, tmp_path: Path) -> None:
    count = planted(prometheus)
    options = Options(target=100, patience=0.0)

    def killed(_text: str) -> None:
        """Nothing to say."""

    with client(prometheus, retries=0) as asking:
        ask = asking.block

        def dies(query: str, at_ms: int) -> Any:
            if len(prometheus.queries) > 20:
                prometheus.down.set()
            return ask(query, at_ms)

        asking.block = dies  # type: ignore[method-assign]
        with pytest.raises(UnreachableError, match="did not come back"):
            dump(asking, WANTED, tmp_path / "d", options=options, say=killed)
    prometheus.down.clear()
    before = len(prometheus.queries)
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "d/samples").rglob("*.parquet")}
    assert len(parts) > 5
    told: list[str] = []
    with client(prometheus) as asking:
        folder = dump(asking, WANTED, tmp_path / "d", options=options, say=told.append)
    assert samples(folder).height == count
    assert any(f"going on: {len(parts)} stretches are there" in text for text in told)
    assert all(path.stat().st_mtime_ns == then for path, then in parts.items())
    assert len(prometheus.queries) - before < 200


def test_a_server_that_answers_but_drops_the_samples_ends_the_dump(prometheus: Server, tmp_path: Path) -> None:
    """It is there each time that it is waited for, so patience alone never ends."""
    planted(prometheus)
    prometheus.dropped = "a_total["
    with client(prometheus, retries=0) as asking, pytest.raises(UnreachableError, match="does not answer"):
        dump(asking, WANTED, tmp_path / "d", options=Options(target=300))
    asked = sum("a_total[" in query for query in prometheus.queries)
    assert asked >= MOST_UNANSWERED
    prometheus.dropped = "nothing"
    with client(prometheus) as asking:
        assert samples(dump(asking, WANTED, tmp_path / "d", options=Options(target=300))).height > 0


def unfinished(server: Server, folder: Path) -> None:
    """Leave a dump that was killed after a few stretches."""
    with client(server) as asking:
        ask = asking.block

        def killed(query: str, at_ms: int) -> Any:
            if len(server.queries) > 12:
                raise KeyboardInterrupt
            return ask(query, at_ms)

        asking.block = killed  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            dump(asking, WANTED, folder, options=Options(target=100, parallel=1))


def test_damaged_and_half_told_parts_are_fetched_again(prometheus: Server, tmp_path: Path) -> None:
    count = planted(prometheus)
    folder = tmp_path / "d"
    unfinished(prometheus, folder)
    ledger = folder / ".dump.jsonl"
    lines = ledger.read_text().splitlines()
    assert len(lines) > 5
    ledger.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])  # killed between the file and its line
    damaged = sorted((folder / "samples/metric=a_total").rglob("*.parquet"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-9])
    told: list[str] = []
    with client(prometheus) as asking:
        dump(asking, WANTED, folder, options=Options(target=70), say=told.append)
    assert samples(folder).height == count
    assert any("1 were damaged" in text for text in told)


def test_another_dump_is_not_mixed_into_a_folder(prometheus: Server, tmp_path: Path) -> None:
    planted(prometheus)
    folder = tmp_path / "d"
    unfinished(prometheus, folder)
    with client(prometheus) as asking:
        with pytest.raises(RefusedError, match="another plan"):
            dump(asking, DumpSpec(("a_total",), T0, LAST), folder)
        with pytest.raises(RefusedError, match="another dump"):
            dump(asking, WANTED, folder, options=Options(keep_raw=False))
        dump(asking, WANTED, folder)
        with pytest.raises(RefusedError, match="is finished"):
            dump(asking, WANTED, folder)


def test_a_selector_without_a_name_is_every_metric_it_has(prometheus: Server, tmp_path: Path) -> None:
    planted(prometheus)
    with client(prometheus) as asking:
        found = expanded(asking, DumpSpec(('{job="x"}',), T0, LAST))
        assert found["b_total"] == '{__name__="b_total",job="x"}'
        with pytest.raises(SettingsError, match="in two selectors"):
            expanded(asking, DumpSpec(("a_total", '{job="x"}'), T0, LAST))
        with pytest.raises(SettingsError, match="no series selector"):
            expanded(asking, DumpSpec(("rate(a_total[1m])",), T0, LAST))
        folder = dump(asking, DumpSpec(('{job="x"}',), T0, T0 + 60_000), tmp_path / "d")
    assert Bundle.open(folder).metrics == ["a_total", "b_total", "hardwatt_meter_info"]


def test_joules_of_unknown_source_are_refused_until_somebody_says(prometheus: Server, tmp_path: Path) -> None:
    planted(prometheus)
    prometheus.series.pop()
    with client(prometheus) as asking:
        with pytest.raises(SettingsError, match="where its joules come from"):
            dump(asking, WANTED, tmp_path / "d")
        assert not (tmp_path / "d").exists()
        folder = dump(asking, WANTED, tmp_path / "d", source="modelled")
    assert Bundle.open(folder).manifest.source == "modelled"


def test_nothing_there_is_said(prometheus: Server, tmp_path: Path) -> None:
    with client(prometheus) as asking, pytest.raises(IncompleteError, match="no such series"):
        dump(asking, DumpSpec(("{x='y'}",), T0, LAST), tmp_path / "d")


def test_progress_tells_share_pace_and_time_left() -> None:
    progress = Progress(whole=100, covered=25, samples=5000)
    progress.started -= 10
    assert progress.text.startswith("25% of the time, 5,000 samples, ")
    assert progress.text.endswith("about 30 s left")


def test_moments() -> None:
    assert moment("1790000000.5") == 1_790_000_000_500
    assert moment("2026-09-21T14:13:20Z") == 1_790_000_000_000
    assert moment("2026-09-21T16:13:20+02:00") == 1_790_000_000_000
    assert moment("90m", now=1_790_000_000) == 1_790_000_000_000 - 5_400_000
    assert moment("now", now=5.0) == 5000
    for text, message in (("yesterday", "no moment"), ("2026-09-21T14:13:20", "time zone")):
        with pytest.raises(SettingsError, match=message):
            moment(text)
    with pytest.raises(SettingsError, match="ends before it starts"):
        DumpSpec(("up",), 5, 5)


def test_a_window_of_a_run(tmp_path: Path) -> None:
    from hardwatt.testing.synthetic_bundle import Spec, make_bundle

    truth = make_bundle(tmp_path / "b", Spec(pairs=1))
    run = Bundle.open(truth.path).runs[0]
    assert window_of(truth.path, run.run_id) == (run.t0_ms, run.t1_ms)
    with pytest.raises(SettingsError, match="no run 'r9'"):
        window_of(truth.path, "r9")


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("sesame\n")
    assert read_token(str(tmp_path / "token")) == "sesame"
    monkeypatch.setenv("HARDWATT_PROMETHEUS_TOKEN", "open")
    assert read_token() == "open"
    monkeypatch.delenv("HARDWATT_PROMETHEUS_TOKEN")
    assert read_token() == ""
    with pytest.raises(SettingsError, match="cannot be read"):
        read_token(str(tmp_path / "none"))


def test_a_token_goes_over_loopback_or_https_only(prometheus: Server) -> None:
    planted(prometheus)
    with client(prometheus, token="sesame") as asking:
        _, body = asking.samples("a_total[1000ms]", T0)
    assert prometheus.headers_seen[0]["Authorization"] == "Bearer sesame"
    assert "sesame" not in repr(body)
    with pytest.raises(RefusedError, match="not https"):
        Client("http://prometheus.example:9090", token="sesame")
    Client("https://prometheus.example:9090", token="sesame")
