"""Data measured elsewhere: into a bundle, and judged by the same rules."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.config.lab import open_lab
from hardwatt.core.errors import LabError, RefusedError, SettingsError, VerifyError
from hardwatt.dump import imports, request
from hardwatt.dump.imports import Options
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.outcomes import measure

T0 = 1_790_000_000
RAPL = Options("rapl")


def made(tmp_path: Path, text: str, options: Options = RAPL, runs: str = "") -> Bundle:
    file = tmp_path / "data.txt"
    file.write_text(text)
    series = imports.read(file, options)
    if runs:
        (tmp_path / "runs.csv").write_text(runs)
    windows = imports.read_windows(tmp_path / "runs.csv") if runs else [imports.whole(series)]
    return Bundle.open(imports.bundle(file, series, windows, options, tmp_path / "b"))


def joules(bundle: Bundle) -> dict[str, Figure]:
    return {one.run_id: one.figure for one in measure(bundle).outcomes if one.name == "node_joules"}


def refused(bundle: Bundle) -> dict[str, str]:
    return {one.run_id: one.reason for one in measure(bundle).refusals if one.name == "node_joules"}


def table(column: str, values: list[float], step: float = 10.0) -> str:
    return f"timestamp,{column}\n" + "".join(f"{T0 + i * step},{value!r}\n" for i, value in enumerate(values))


def test_a_counter_every_ten_seconds(tmp_path: Path) -> None:
    bundle = made(tmp_path, table("joules", [500 + 30.0 * i for i in range(61)]))
    figure = joules(bundle)["import"]
    assert figure.value == pytest.approx(1800)
    assert figure.low == pytest.approx(1800)
    assert figure.source == "RAPL, CPU packages; imported from data.txt"
    assert bundle.manifest.host["scrape_seconds"] == 10


def test_watts_have_the_bounds_of_their_neighbours(tmp_path: Path) -> None:
    bundle = made(tmp_path, table("watts", [10.0, 20.0, 20.0, 10.0]))
    figure = joules(bundle)["import"]
    assert (figure.value, figure.low, figure.high) == pytest.approx((500, 400, 600))


def test_arms_and_windows_of_a_table(tmp_path: Path) -> None:
    runs = f"run_id,arm,block,position,start,end\na,push,0,0,{T0 + 5},{T0 + 105}\nb,pull,0,1,{T0 + 200},{T0 + 300}\n"
    values = [3.0 * i for i in range(15)] + [42 + 5.0 * i for i in range(20)]
    bundle = made(tmp_path, table("joules", values), runs=runs)
    found = joules(bundle)
    assert found["a"].value == pytest.approx(30)
    assert found["a"].low < 30 < found["a"].high
    assert found["b"].value == pytest.approx(50)
    assert bundle.plan.arms == ["push", "pull"]


def test_faults_are_judged_as_everywhere(tmp_path: Path) -> None:
    gap = table("joules", [10.0 * i for i in range(10)]) + f"{T0 + 200},200\n{T0 + 210},210\n"
    (tmp_path / "a").mkdir()
    reason = refused(made(tmp_path / "a", gap))["import"]
    assert reason == "node_rapl_package_joules_total: a gap longer than the declared one"
    (tmp_path / "b").mkdir()
    wrapped = [(250_000 + 1000.0 * i) % 262_143 for i in range(30)]
    options = Options("rapl", range_joules=262_143)
    assert joules(made(tmp_path / "b", table("joules", wrapped), options))["import"].value == pytest.approx(29_000)
    (tmp_path / "c").mkdir()
    assert refused(made(tmp_path / "c", table("watts", [5.0, -1.0, 5.0])))["import"] == "watts below zero"


def test_nan_and_repeated_rows_are_left_out_and_two_values_refused(tmp_path: Path) -> None:
    values = [float(i) for i in range(30)]
    values[7] = float("nan")
    text = table("joules", values) + f"{T0},0.0\n"
    assert joules(made(tmp_path, text))["import"].value == pytest.approx(29)
    with pytest.raises(VerifyError, match="two values at"):
        made(tmp_path, text + f"{T0},5.0\n")


def document(name: str | None, values: list[float], step: int = 5) -> str:
    labels = {"instance": "n"} | ({"__name__": name} if name else {})
    pairs = [[T0 + i * step, str(value)] for i, value in enumerate(values)]
    result = [{"metric": labels, "values": pairs}]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}})


def test_prometheus_json_keeps_its_series(tmp_path: Path) -> None:
    bundle = made(tmp_path, document("node_rapl_package_joules_total", [7.0 * i for i in range(40)]))
    assert bundle.metrics == ["node_rapl_package_joules_total"]
    assert joules(bundle)["import"].value == pytest.approx(7 * 39)


def test_prometheus_json_with_a_unit_is_the_nodes_energy(tmp_path: Path) -> None:
    text = document("kepler_node_package_millijoule", [7000.0 * i for i in range(40)])
    options = Options("rapl", "millijoules", "kepler_node_package_millijoule")
    assert joules(made(tmp_path, text, options))["import"].value == pytest.approx(7 * 39)
    (tmp_path / "w").mkdir()
    watts = made(tmp_path / "w", document(None, [3.0] * 20), Options("rapl", "watts"))
    assert joules(watts)["import"].value == pytest.approx(3 * 95)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,joules\n1,2\n", "the columns are time, joules"),
        ("timestamp,joules,watts\n1,2,3\n", "the columns are"),
        ("timestamp,joules\n2026-09-21 10:00,5\n", "line 2: '2026-09-21 10:00', '5' is no moment"),
        ("timestamp,joules\n1,two\n", "line 2"),
        ("timestamp,joules,zone\n1,2,dram\n", "line 2: the zone dram is no CPU package"),
        ("timestamp,joules\n", "holds no samples"),
        ('{"status":"error"}', "not an answer of Prometheus"),
        (document(None, [1.0]), "a series has no name"),
        ("timestamp,joules\n5,2\n", "no time in common"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(VerifyError, match=message):
        made(tmp_path, text)


def test_the_command_says_figures_and_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "plug.csv"
    file.write_text(table("watts", [10.0] * 20))
    words = request.ImportRequest(str(file), "rapl", str(tmp_path / "b"), "", "", "", 0.0, 0.0)
    assert request.import_(open_lab(), words) == tmp_path / "b"
    assert "import node_joules: 1900 J (1900 to 1900)" in capsys.readouterr().err
    with pytest.raises(LabError, match="is not empty"):
        request.import_(open_lab(), words)


def asked(file: Path, out: Path, **more: object) -> request.ImportRequest:
    words = {"source": "rapl", "runs": "", "unit": "", "metric": "", "interval": 0.0, "range_joules": 0.0}
    return request.ImportRequest(**{"file": str(file), "out": str(out), **words, **more})  # type: ignore[arg-type]


def test_a_refused_import_leaves_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "still.csv"
    file.write_text(table("joules", [7.0] * 20))
    out = tmp_path / "made/b"
    for _ in range(2):  # the first stops no second one
        with pytest.raises(RefusedError, match=r"still\.csv carries no figure: .* stands still"):
            request.import_(open_lab(), asked(file, out))
        assert list(out.parent.iterdir()) == []
    file.write_text(table("joules", [7.0 * i for i in range(20)]))
    assert request.import_(open_lab(), asked(file, out)) == out
    assert [path.name for path in out.parent.iterdir()] == ["b"]


@pytest.mark.parametrize("factor", [1_000, 1_000_000])
def test_moments_in_other_units_are_refused_in_every_format(factor: int, tmp_path: Path) -> None:
    file = tmp_path / "data"
    rows = f"timestamp,joules\n{T0 * factor},1\n{T0 * factor + factor},2\n"
    answer = document("node_rapl_package_joules_total", [1.0, 2.0]).replace(str(T0), str(T0 * factor))
    for text in (rows, answer):
        file.write_text(text)
        with pytest.raises(VerifyError) as caught:
            imports.read(file, RAPL)
        assert "seconds" in f"{caught.value.message} {caught.value.hint}"


def test_readings_of_power_that_a_range_query_repeats_are_one_each(tmp_path: Path) -> None:
    """Scraped every fifteen seconds, asked for every second: between two scrapes nobody looked."""
    scrapes = [40.0, 60.0, 60.0, 20.0, 50.0, 70.0, 30.0, 40.0]
    text = document(None, [value for value in scrapes for _ in range(15)], step=1)
    options = Options("rapl", "watts")
    bundle = made(tmp_path, text, options)
    assert bundle.manifest.host["scrape_seconds"] == 15
    figure = joules(bundle)["import"]
    edges = scrapes[1:]
    pairs = list(pairwise(edges))
    assert figure.value == pytest.approx(15 * sum((before + after) / 2 for before, after in pairs))
    assert figure.low == pytest.approx(15 * sum(map(min, pairs)))
    assert figure.high == pytest.approx(15 * sum(map(max, pairs)))


@pytest.mark.parametrize(
    "values",
    [
        [50.0] * 40,
        [50.0, 51.0] * 20,
        [50.0, 50.0, 51.0, 52.0, 52.0, 52.0, 53.0, 50.0, 50.0] * 4,
        [40.0] * 20 + [41.0] * 20,
    ],
)
def test_readings_of_power_that_are_equal_by_right_stay(values: list[float], tmp_path: Path) -> None:
    bundle = made(tmp_path, document(None, values, step=1), Options("rapl", "watts"))
    assert bundle.samples("hardwatt_imported_watts").collect().height == len(values)


@pytest.mark.parametrize(("watts", "reason"), [(-5.0, "watts below zero"), (3e6, "watts above any node's")])
def test_power_that_no_node_has_is_refused_in_every_format(watts: float, reason: str, tmp_path: Path) -> None:
    values = [50.0, 50.0, watts, 50.0, 50.0]
    for name, text, options in (("csv", table("watts", values), RAPL),
                                ("json", document(None, values), Options("rapl", "watts"))):  # fmt: skip
        (tmp_path / name).mkdir()
        assert reason in refused(made(tmp_path / name, text, options))["import"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": ""}, "where do its joules come from"),
        ({"unit": "kWh"}, "one of joules"),
        ({"interval": -1.0}, "below zero"),
        ({"file": "/nowhere.csv"}, "there is no file"),
    ],
)
def test_words_that_cannot_be_meant(change: dict[str, object], message: str) -> None:
    words = {"file": "x", "source": "rapl", "out": "", "runs": "", "unit": "", "metric": "", "interval": 0.0}
    with pytest.raises(SettingsError, match=message):
        request.import_(open_lab(), request.ImportRequest(**{**words, "range_joules": 0.0, **change}))  # type: ignore[arg-type]
