"""What measurement tools write, in the shape of their own output, and what every compression and separator gives.

Shapes: experiment-runner's run_table.csv as its CSVOutputManager writes it; hyperfine 1.19 --export-json; the answer of
the Green Metrics Tool's /v1/compare (its tests/data/json); EnergiBridge 0.0.7 -o; CodeCarbon 2.7 emissions.csv;
pytest-benchmark 5 --benchmark-json with --benchmark-save-data; Prometheus' HTTP API, and OpenMetrics 1.0 text.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from hardwatt.analysis import Columns, TableRequest
from hardwatt.bundle.frames import pl
from hardwatt.core.errors import LabError
from tests.tables.helpers import answer, bounds, long, reasons, write

ROWS = [(50 + k % 3, 53 + k % 4 / 2) for k in range(8)]
MEAN = sum(b - a for a, b in ROWS) / 8


def dumped(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document, indent=2))
    return path


def hyperfine(times: dict[str, list[float]], **more: Any) -> dict[str, Any]:
    results = [
        {
            "command": command,
            "mean": sum(own) / len(own), "stddev": 0.01, "median": own[0], "user": 0.3, "system": 0.1,
            "min": min(own), "max": max(own), "times": own,
            "memory_usage_byte": [4_194_304] * len(own), "exit_codes": [0] * len(own),
        } | more
        for command, own in times.items()
    ]  # fmt: skip
    return {"results": results}


TIMES = {"grep -r x": [a / 100 for a, _ in ROWS], "rg 'x|y' <z>": [b / 100 for _, b in ROWS]}


def test_hyperfine(tmp_path: Path) -> None:
    found = answer(dumped(tmp_path / "h.json", hyperfine(TIMES)))
    assert found["table"]["kind"] == "hyperfine"
    assert bounds(found)[0] == pytest.approx(MEAN / 100)
    assert found["primary"]["estimate"]["unit"] == "s"
    assert any("one after another" in note for note in found["notes"])


def test_hyperfines_failed_runs_and_parameters(tmp_path: Path) -> None:
    document = hyperfine(TIMES)
    document["results"][0]["exit_codes"] = [0, 0, 1, None, 0, 0, 0, 0]
    for result, threads in zip(document["results"], ("1", "4"), strict=True):
        result["parameters"] = {"threads": threads}
    path = dumped(tmp_path / "h.json", document)
    assert reasons(answer(path)) == {"the command ended with 1": 1, "the command was ended by a signal": 1}
    assert answer(path, TableRequest(Columns(arm="threads")))["arms"] == ["1", "4"]
    memory = answer(path, TableRequest(Columns(value="memory (bytes)")))
    assert bounds(memory)[0] == 0
    for result in document["results"]:
        del result["times"]
    with pytest.raises(LabError, match="no single times"):
        answer(dumped(tmp_path / "m.json", document))


def pytest_benchmark(data: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "machine_info": {"node": "n", "python_version": "3.12.3", "cpu": {"brand_raw": "x"}},
        "commit_info": {"id": "abc", "dirty": False},
        "benchmarks": [
            {
                "group": None, "name": name, "fullname": f"tests/test_it.py::{name}", "params": None, "param": None,
                "extra_info": {}, "options": {"timer": "perf_counter", "warmup": False},
                "stats": {"min": min(own), "max": max(own), "mean": own[0], "rounds": len(own), "iqr": 0, "data": own},
            }
            for name, own in data.items()
        ],
        "datetime": "2026-11-30T10:00:00+00:00", "version": "5.1.0",
    }  # fmt: skip


def test_pytest_benchmark(tmp_path: Path) -> None:
    document = pytest_benchmark({"test_old[3.12]": TIMES["grep -r x"], "test_new[3.12]": TIMES["rg 'x|y' <z>"]})
    found = answer(dumped(tmp_path / "b.json", document))
    assert found["table"]["kind"] == "pytest-benchmark"
    assert (bounds(found)[0], found["arms"][0]) == (pytest.approx(MEAN / 100), "test_old[3.12]")
    assert any("inside one process" in note for note in found["notes"])
    del document["benchmarks"][1]["stats"]["data"]
    with pytest.raises(LabError, match="no single rounds") as refused:
        answer(dumped(tmp_path / "n.json", document))
    assert "--benchmark-save-data" in refused.value.hint


def green_metrics(*, enveloped: bool) -> dict[str, Any]:
    def run(values: list[float]) -> dict[str, Any]:
        return {"ci": None, "is_significant": None, "max": None, "mean": values[0], "stddev": None, "values": values}

    def metric(unit: str, factor: int, detail: str) -> dict[str, Any]:
        data = {
            "old/usage_scenario.yml": run([a * factor for a, _ in ROWS]),
            "new/usage_scenario.yml": run([b * factor for _, b in ROWS]),
        }
        about = {"is_significant": None, "name": detail, "p_value": None}
        return {"type": "TOTAL", "unit": unit, "data": {detail: {"data": data, **about}}}

    metrics = {
        "cpu_energy_rapl_msr_component": metric("uJ", 10**6, "Package_0"),
        "phase_time_syscall_system": metric("us", 10**5, "[SYSTEM]"),
    }
    inner = {
        "common_info": {"Branch": "main"}, "comparison_case": "Usage Scenario", "comparison_details": [[], []],
        "comparison_identifiers": ["old/usage_scenario.yml", "new/usage_scenario.yml"],
        "data": {"[RUNTIME]": {"hidden": False, "data": metrics}},
    }  # fmt: skip
    return {"success": True, "data": inner} if enveloped else inner


@pytest.mark.parametrize("enveloped", [True, False])
def test_the_green_metrics_tool(enveloped: bool, tmp_path: Path) -> None:
    path = dumped(tmp_path / "compare.json", green_metrics(enveloped=enveloped))
    with pytest.raises(LabError, match="which column is the outcome") as refused:
        answer(path)
    assert "cpu_energy_rapl_msr_component" in str(refused.value)
    value = "[RUNTIME] cpu_energy_rapl_msr_component Package_0 (uJ)"
    found = answer(path, TableRequest(Columns(value=value)))
    assert bounds(found)[0] == pytest.approx(MEAN * 1e6)
    assert found["table"]["kind"] == "Green Metrics Tool" and found["primary"]["estimate"]["unit"] == "uJ"


CODECARBON = (
    "timestamp,project_name,run_id,experiment_id,duration,emissions,emissions_rate,cpu_power,gpu_power,ram_power,"
    "cpu_energy,gpu_energy,ram_energy,energy_consumed,country_name,country_iso_code,region,cloud_provider,cloud_region,"
    "os,python_version,codecarbon_version,cpu_count,cpu_model,gpu_count,gpu_model,longitude,latitude,ram_total_size,"
    "tracking_mode,on_cloud,pue"
)


def test_codecarbon(tmp_path: Path) -> None:
    lines = [CODECARBON]
    for k, values in enumerate(ROWS):
        for name, value in zip(("bert", "distilbert"), values, strict=True):
            lines.append(
                f"2026-11-30T10:{k:02}:0{len(name) % 10},{name},845a8f50-{k}{name},5b0fa12a,61.5,0.15,2.5e-05,"
                f"42.5,0.0,5.6,{value / 1e4},0,{value / 9e4},{value / 1e3},Canada,CAN,quebec,,,"
                "Linux-6.8.0-47-generic-x86_64-with-glibc2.35,3.12.11,2.7.1,8,AMD EPYC 7643 48-Core Processor,,,,,31.2,"
                "machine,N,1.0"
            )
    found = answer(write(tmp_path / "emissions.csv", lines))
    assert found["table"]["kind"] == "CodeCarbon"
    assert (bounds(found)[0], found["primary"]["estimate"]["unit"]) == (pytest.approx(MEAN / 1e3), "kWh")
    assert found["arms"] == ["bert", "distilbert"] and any("constant power" in note for note in found["notes"])
    ordered = answer(tmp_path / "emissions.csv", TableRequest(order="timestamp"))
    assert any(row["name"].startswith("Drift") for row in ordered["robustness"])


def energibridge(values: list[float]) -> list[str]:
    lines = [
        "Delta,Time,CPU_FREQUENCY_0,CPU_USAGE_0,DRAM_ENERGY (J),PACKAGE_ENERGY (J),PP0_ENERGY (J),"
        "TOTAL_MEMORY,USED_MEMORY"
    ]
    moments = (1_697_704_464_320 + 104 * k for k in range(len(values)))
    return lines + [f"104,{moment},2400,12.5,{value / 9},{value},{value / 2},34359738368,10188488704"
                    for moment, value in zip(moments, values, strict=True)]  # fmt: skip


def test_energibridge_has_one_run_and_says_what_it_is_worth(tmp_path: Path) -> None:
    path = write(tmp_path / "energibridge.csv", energibridge([1000.5, 1020.25, 1061.0]))
    with pytest.raises(LabError, match=r"3 samples of one run .* 60\.5 joules") as refused:
        answer(path)
    assert "hardwatt table RUNS.csv" in refused.value.hint
    with pytest.raises(LabError, match="the counter wrapped"):
        answer(write(tmp_path / "wrapped.csv", energibridge([65_530.5, 2.25, 61.0])))


def energibridge_power(watts: list[float]) -> list[str]:
    """Return the lines of a run on macOS: https://github.com/tdurieux/EnergiBridge-experiments, darwin-arm."""
    lines = ["Delta,Time,CPU_FREQUENCY_0,CPU_TEMP_0,CPU_USAGE_0,SYSTEM_POWER (Watts),TOTAL_MEMORY,USED_SWAP"]
    moments = (1_697_704_730_953 + 100 * k + k % 2 for k in range(len(watts)))
    return lines + [f"100,{moment},0,45.92,46.28,{value},34359738368,0"
                    for moment, value in zip(moments, watts, strict=True)]  # fmt: skip


def test_energibridge_without_a_counter_integrates_the_power(tmp_path: Path) -> None:
    path = write(tmp_path / "1.csv", energibridge_power([10.0, 20.0, 30.0]))
    with pytest.raises(LabError, match=r"3\.99 joules, the integral of SYSTEM_POWER \(Watts\)"):
        answer(path)
    swapped = energibridge_power([10.0, 20.0, 30.0])
    with pytest.raises(LabError, match="not complete and in order"):
        answer(write(tmp_path / "2.csv", [swapped[0], *reversed(swapped[1:])]))
    with pytest.raises(LabError, match="has blanks"):
        answer(write(tmp_path / "3.csv", [*swapped, "100,1697704731453,0,45.92,46.28,,34359738368,0"]))


def vector(**more: Any) -> dict[str, Any]:
    result = [
        {"metric": {"__name__": "run_joules", "arm": arm, "run": str(k)}, "value": [1_790_000_000.5, str(value)]}
        for k, values in enumerate(ROWS)
        for arm, value in zip(("push", "pull"), values, strict=True)
    ]
    return {"status": "success", "data": {"resultType": "vector", "result": result}} | more


def test_an_instant_answer_of_prometheus(tmp_path: Path) -> None:
    found = answer(dumped(tmp_path / "p.json", vector()))
    assert found["table"]["kind"] == "Prometheus"
    assert bounds(found)[0] == pytest.approx(MEAN)
    paired = answer(tmp_path / "p.json", TableRequest(Columns(pair="run")))
    assert paired["n"]["value"] == 8
    document = vector()
    document["data"]["result"][3]["value"][1] = "NaN"
    assert sum(reasons(answer(dumped(tmp_path / "n.json", document))).values()) == 1


def test_a_range_answer_is_no_table_of_runs(tmp_path: Path) -> None:
    values = [[1_790_000_000 + 15 * k, str(500 + 30 * (k // 4))] for k in range(40)]
    result = [{"metric": {"__name__": "node_joules_total", "arm": arm}, "values": values} for arm in ("a", "b")]
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    with pytest.raises(LabError, match=r"2 series, 80 values.*repeat scrapes") as refused:
        answer(dumped(tmp_path / "r.json", document))
    assert "experiment.import" in refused.value.hint


@pytest.mark.parametrize(
    "more",
    [
        {"warnings": ["results truncated due to limit"]},
        {"warnings": ["No StoreAPIs matched for this query"], "data": vector()["data"]},
        {"isPartial": True},
        {"partialResponse": True},
        {"status": "error", "errorType": "timeout", "error": "query timed out"},
        {"status": "partial"},
    ],
)
def test_a_partial_answer_is_refused(more: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"partial answer|that failed"):
        answer(dumped(tmp_path / "p.json", vector(**more)))


OPENMETRICS = [
    "# TYPE run_energy_joules gauge", "# UNIT run_energy_joules joules", "# HELP run_energy_joules Energy of a run.",
    *(f'run_energy_joules{{arm="{arm}",run="{k}",note="a \\"b\\", c"}} {value} 1790000000.5'
      for k, values in enumerate(ROWS) for arm, value in zip(("push", "pull"), values, strict=True)),
    "# EOF",
]  # fmt: skip


def test_openmetrics(tmp_path: Path) -> None:
    found = answer(write(tmp_path / "o.txt", OPENMETRICS))
    assert found["table"]["kind"] == "OpenMetrics"
    assert bounds(found)[0] == pytest.approx(MEAN)
    with pytest.raises(LabError, match=r"line 20: .* stands in line 4 already"):
        answer(write(tmp_path / "t.txt", [*OPENMETRICS[:-1], OPENMETRICS[3], "# EOF"]))
    with pytest.raises(LabError, match=r"line 2: .* is not a sample"):
        answer(write(tmp_path / "b.txt", ["# TYPE x gauge", "x{a=1}"]))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"results": [', "line 1, column 14"),
        ('{"results": []}', "no known tool"),
        ("[1, 2, 3]", "no known tool"),
        ('{"a": 1}\n{"a": 2}\n', "line 2, column 1"),
        ("[" * 100_000, "nested too deeply|line 1"),
        (
            '{"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}}]}}',
            "missing or has another shape",
        ),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}', "no measured runs"),
    ],
)
def test_json_of_another_shape_is_refused(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(LabError, match=says):
        answer(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst", "no-ending"])
def test_packed_tables_are_unpacked_by_their_content(name: str, tmp_path: Path) -> None:
    text = ("\n".join(long(ROWS)) + "\n").encode()
    path = tmp_path / name
    if name.endswith("zst"):
        pl.DataFrame({"x": long(ROWS)}).write_csv(path, include_header=False, quote_style="never", compression="zstd")
    else:
        path.write_bytes(gzip.compress(text))
    found = answer(path)
    assert bounds(found)[0] == pytest.approx(MEAN)
    assert found["table"]["compression"] == ("zstd" if name.endswith("zst") else "gzip")
    path.write_bytes(path.read_bytes()[:-9] + b"x")
    with pytest.raises(LabError, match=r"damaged|cannot be unpacked"):
        answer(path)


@pytest.mark.parametrize("mark", [";", "\t", "|", ","])
def test_a_decimal_comma_is_read_beyond_doubt_only(mark: str, tmp_path: Path) -> None:
    def comma(value: float, places: int) -> str:
        text = f"{value:.{places}f}".replace(".", ",")
        return f'"{text}"' if mark == "," else text

    sure = answer(write(tmp_path / "t.csv", long([(comma(a, 2), comma(b, 2)) for a, b in ROWS], separator=mark)))
    assert bounds(sure)[0] == pytest.approx(MEAN)
    assert sure["table"]["decimal"] == ","
    doubtful = write(tmp_path / "d.csv", long([(comma(a, 3), comma(b, 3)) for a, b in ROWS], separator=mark))
    with pytest.raises(LabError, match="decimals or thousands") as refused:
        answer(doubtful)
    assert "--decimal comma" in refused.value.hint
    assert bounds(answer(doubtful, TableRequest(decimal="comma")))[0] == pytest.approx(MEAN)
    mixed = long([(comma(a, 2), f"{b:.2f}") for a, b in ROWS], separator=mark)
    with pytest.raises(LabError, match="is not a number"):
        answer(write(tmp_path / "m.csv", mixed))
    with pytest.raises(LabError, match="is not a number"):
        answer(write(tmp_path / "p.csv", long([*ROWS[:1], ("50.5", "51.5")])), TableRequest(decimal="comma"))


def test_a_named_separator_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "t.txt", [line.replace(",", " ") for line in long(ROWS)])
    with pytest.raises(LabError, match="--separator space"):
        answer(path)
    assert bounds(answer(path, TableRequest(separator="space")))[0] == pytest.approx(MEAN)


def test_comments_before_the_header_are_skipped(tmp_path: Path) -> None:
    found = answer(write(tmp_path / "t.csv", ["# measured in Ulm", "#", *long(ROWS), ""]))
    assert bounds(found)[0] == pytest.approx(MEAN)
