"""Shapes of published tables of measurements, each with what went wrong or is easily taken for something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardwatt.analysis import Columns, TableRequest
from hardwatt.analysis.tables import units
from hardwatt.analysis.tables.request import ChoiceMissingError
from hardwatt.core.errors import LabError
from tests.tables.helpers import answer, bounds, reasons, write
from tests.tables.test_formats import CODECARBON


def test_languages_and_programs_with_a_power_limit_and_a_wrapped_counter(tmp_path: Path) -> None:
    """Blanks behind the commas, an empty cell, and counters of 262,144 J that wrapped between two readings."""
    lines = ["Language,Program,PowerLimit,Package,Core,GPU,DRAM,Time,Temperature,Memory"]
    for language, more in (("C", 0.0), ("Rust", 5.0), ("Lisp", 60.0)):
        for program, level in (("fasta", 40.0), ("n-body", 110.0), ("regex-redux", 25.0)):
            for limit in (-1, 15):
                for run in range(6):
                    joules = level + more + limit / 10 + run % 3
                    if (language, program, limit, run) == ("Rust", "fasta", -1, 2):
                        joules -= 262144
                    if (language, program) != ("Lisp", "regex-redux"):
                        lines.append(
                            f"{language}, {program}, {limit},{joules:.18f}, {joules / 2:.18f}, 0.000000000000000000, "
                            f"{joules / 9:.18f}, {joules * 20:.0f}, {37 + joules % 7}, {45668 + 4 * len(lines)}"
                        )
    path = write(tmp_path / "measurements.csv", lines)
    with pytest.raises(ChoiceMissingError) as missing:
        answer(path)
    assert "'Package'" in str(missing.value) and "'Language', 'Program', 'PowerLimit'" in str(missing.value)
    columns = Columns("Package", "Language")
    with pytest.raises(LabError, match="may have wrapped"):
        answer(path, TableRequest(columns))
    found = answer(path, TableRequest(columns, unit="J", baseline="C"))
    assert found["design"]["factors"] == ["Program", "PowerLimit"]
    assert list(reasons(found).values()) == [1]
    assert found["exclusions"][0]["run"].startswith("line ") and "-26209" in found["exclusions"][0]["run"]
    values = {row["arm"]: row["estimate"]["value"] for row in found["contrasts"]}
    assert values == {"Rust": pytest.approx(5, abs=0.2), "Lisp": pytest.approx(60)}
    lisp = next(row for row in found["contrasts"] if row["arm"] == "Lisp")
    assert [row["why"] for row in lisp["strata"]].count("no usable run of Lisp") == 2


def test_a_table_without_a_header_is_refused(tmp_path: Path) -> None:
    lines = [f"n-body ; {113.99 + k} ; 56.05 ; 0.001 ; 14.81 ;  6129.44 " for k in range(5)]
    with pytest.raises(LabError, match=r"line 1: .* look like values"):
        answer(write(tmp_path / "CSharp.csv", lines))


def test_run_tables_without_a_repetition_in_the_name_of_the_run(tmp_path: Path) -> None:
    """Factors of decimals, a column with the repetition, and counts of messages that are outcomes."""
    lines = ["__run_id,__done,algorithm,arena,map_resolution,repetition,avg_cpu,energy,msg_count"]
    number = 0
    for repetition in range(1, 6):
        for algorithm, more in (("hector", 0), ("gmapping", 30)):
            for arena in ("point_to_point", "circular"):
                for resolution in ("0.1", "0.05"):
                    number += 1
                    energy = 811694.55 + more + repetition / 7 + number % 3 / 9
                    lines.append(
                        f"run_{number},DONE,{algorithm},{arena},{resolution},{repetition},{27.3 + number / 97},"
                        f"{energy},{40713 + 7 * number}"
                    )
    path = write(tmp_path / "run_table.csv", lines)
    with pytest.raises(ChoiceMissingError) as missing:
        answer(path)
    assert "--value: 'energy', 'avg_cpu', 'msg_count'" in str(missing.value)
    assert "--arm: 'algorithm', 'arena', 'map_resolution'" in str(missing.value)
    found = answer(path, TableRequest(Columns("energy", "algorithm")))
    assert found["design"]["factors"] == ["arena", "map_resolution"]
    assert bounds(found)[0] == pytest.approx(30, abs=0.2)


def test_an_outcome_that_is_equal_in_every_repetition_is_no_factor(tmp_path: Path) -> None:
    """The accuracy of a model is the same in each repetition of a combination, and stands behind the results."""
    lines = ["__run_id,__done,quantization_type,task_name,Inference Time,GPU Energy,Accuracy"]
    for repetition in range(8):
        for number, (kind, task) in enumerate((k, t) for k in ("awq-4-bit", "16-bit") for t in ("SA", "NLI")):
            lines.append(
                f"run_{number}_repetition_{repetition},DONE,{kind},{task},{1974.25 + repetition * number},"
                f"{69.9 + number + repetition % 3},{0.54 + number / 7}"
            )
    found = answer(write(tmp_path / "llama.csv", lines), TableRequest(Columns("GPU Energy", "quantization_type")))
    assert found["design"]["factors"] == ["task_name"]
    assert bounds(found)[0] == pytest.approx(2)
    timed = answer(tmp_path / "llama.csv", TableRequest(Columns("Inference Time", "quantization_type")))
    assert timed["n"]["value"] == 32


def test_one_row_for_each_combination_offers_the_pairs(tmp_path: Path) -> None:
    """Every prompt once with each method and model; columns that were planned and never filled."""
    lines = ["__run_id,__done,model,method,prompt,size,response,execution_time,codecarbon__energy_consumed"]
    number = 0
    for model in ("Llama2-7b", "llama2-13b"):
        for method in ("local", "http"):
            for prompt in range(1, 11):
                for size in ("short", "long"):
                    energy = (25 + prompt + (method == "http") * 3 + prompt % 3 / 4) * 1e-9
                    lines.append(f"run_{number}_repetition_0,DONE,{model},{method},p{prompt},{size},,,{energy}")
                    number += 1
    path = write(tmp_path / "run_table.csv", lines)
    found = answer(path, TableRequest(Columns(arm="method")))
    assert found["design"]["value"] == "codecarbon__energy_consumed"
    assert found["design"]["factors"] == ["model", "size"]
    assert any("--pair prompt" in note for note in found["notes"])
    paired = answer(path, TableRequest(Columns(arm="method", pair="prompt")))
    assert paired["n"]["value"] == 40 and bounds(paired)[0] == pytest.approx(3e-9)


def test_rows_of_codecarbon_that_add_up_are_one_run(tmp_path: Path) -> None:
    """A tracker that is flushed writes its total so far, and only the last row of a run is the run."""
    rest = "42.5,0.0,6.0,{e},0,{e},{e},Italy,ITA,molise,,,macOS,3.12,2.3.2,10,Apple M2,,,14.6,41.5,16.0,machine,N,1.0"
    lines = [CODECARBON]
    for run in range(10):
        for flush in range(1, 6):
            energy = (1 + run % 2) * flush * 1e-4 + run % 3 * 1e-6
            name = ("before", "after")[run % 2]
            start = f"2023-12-12T21:{run:02}:{flush * 10:02},{name},run-{run},exp,{10.0 * flush},4e-05,4e-06,"
            lines.append(start + rest.format(e=energy))
    found = answer(write(tmp_path / "emissions.csv", lines))
    assert reasons(found) == {"a later row has the total of the same run": 40}
    assert found["n"]["value"] == 10
    assert bounds(found)[0] == pytest.approx(5e-4, rel=0.02)


def test_a_moment_is_not_an_outcome_and_a_duration_is(tmp_path: Path) -> None:
    lines = ["arm,time,run_time", *(f"{'ab'[k % 2]},{1697704464320 + 977 * k},{9.5 + k % 3}" for k in range(12))]
    assert answer(write(tmp_path / "t.csv", lines))["design"]["value"] == "run_time"


def test_a_comment_below_the_rows_is_no_row(tmp_path: Path) -> None:
    """https://github.com/ionutbalosin/jvm-energy-consumption: padded semicolons, a blank line, and a remark."""
    lines = ["          Category;                      Type;  Run Identifier;         Score;       Score Metric"]
    for category, more in (("graalvm-ce", 0.0), ("openjdk-hotspot-vm", 8e3)):
        for number, kind in enumerate(("lambda", "guarded", "unguarded", "parametrized")):
            score = 44723.767 + more + 997 * number + more * number / 97
            lines.append(f"{category:>18};  {kind:>24};         default;     {score:.3f};  Energy (Watt⋅sec)")
    lines += ["", "# Note: The power reference baseline has already been excluded from the energy scores"]
    path = write(tmp_path / "energy-report-run.csv", lines)
    results = answer(path, TableRequest(Columns("Score", "Category", "Type")))
    assert results["contrasts"][0]["n"]["graalvm-ce"]["value"] == 4
    assert bounds(results)[0] == pytest.approx(8e3 + 8e3 * 1.5 / 97, abs=0.01)


@pytest.mark.parametrize(
    ("name", "unit"), [("joules", "J"), ("Seconds", "s"), ("kWh", "kWh"), ("MWh", "MWh"), ("min", ""), ("g", "")]
)
def test_a_name_that_is_a_unit_has_this_unit(name: str, unit: str) -> None:
    assert units.of_name(name) == unit


def test_identifiers_of_batches_are_no_arms(tmp_path: Path) -> None:
    """https://github.com/Sabreclaw/catboost-xgboost-lightgbm: batches named by random identifiers."""
    lines = ["timestamp,batch_guid,batch,database,model,energy_j,mean_power_w"]
    for model, more in (("catboost", 0), ("lgbm", 300)):
        for place, database in enumerate(("credit_card", "diabetic")):
            for run in range(6):
                batch = f"A088A665-B39C-4E5B-877C-3AF8EF2A55{10 + 4 * place + 2 * bool(more) + run // 3}"
                energy = 1377.479858 + more + 120 * place + run * 7.25
                lines.append(f"20251021-1123{len(lines):02},{batch},{batch},{database},{model},{energy},{49 + run / 7}")
    path = write(tmp_path / "run_table.csv", lines)
    with pytest.raises(ChoiceMissingError) as missing:
        answer(path)
    assert "--arm: 'database', 'model')" in str(missing.value) and "guid" not in missing.value.hint
    assert bounds(answer(path, TableRequest(Columns("energy_j", "model"))))[0] == pytest.approx(300)


@pytest.mark.parametrize(
    "lines",
    [
        ["Elapsed Time (ms);Package Energy (µJ);DRAM Energy (µJ);Temperature (C°);BenchmarkReturnValue"]
        + [f"{3522.5273 + k};{142359499 + 7 * k};{1976313 - 3 * k};{68.5 + k / 2};" for k in range(12)],
        ["run_id,energy_joules,time_seconds"] + [f"{k},{40.09 + k / 7:.2f},{60.000947775 + k}" for k in range(1, 31)],
    ],
)
def test_the_runs_of_one_arm_are_no_comparison(lines: list[str], tmp_path: Path) -> None:
    """https://github.com/PLEnergyDev/experiments and fidangithub/perf-energy-measurements: one file for each arm."""
    value = next(name for name in lines[0].replace(";", ",").split(",") if "nergy" in name)
    with pytest.raises(LabError, match="no column whose values could be arms") as refused:
        answer(write(tmp_path / "results.csv", lines), TableRequest(Columns(value)))
    assert "put all arms into one file" in refused.value.hint


@pytest.mark.parametrize(
    ("names", "said"),
    [(("e1", "t1", "e2", "t2", "e3", "t3"), True), (("e1", "e2"), False), (("e1", "e50", "e95", "e99"), False)],
)
def test_repetitions_in_columns_are_named_if_one_of_them_is_the_outcome(
    names: tuple[str, ...], said: bool, tmp_path: Path
) -> None:
    """https://github.com/fidangithub/perf-energy-measurements: e1,t1 to e30,t30 beside each script."""
    lines = [",".join(("script", "language", *names))]
    for number, language in enumerate(["JavaScript", "Python"] * 6):
        cells = (f"{3.0764 + number / 7 + place / 31:.4f}" for place in range(len(names)))
        lines.append(",".join((f"{number}.{language}", language, *cells)))
    results = answer(write(tmp_path / "energy_results_wide.csv", lines), TableRequest(Columns("e1", "language")))
    assert any("one of 3 numbered columns, 'e1' to 'e3'" in note for note in results["notes"]) is said
    assert any("numbered columns" in note for note in results["notes"]) is said
