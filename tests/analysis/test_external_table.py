"""Somebody else's tables go the same way: Student's sleep as a CSV, and a run table of experiment-runner."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from scipy import stats

from hardwatt.analysis.external_table import Columns, TableRequest, analyse_table
from hardwatt.cli.console import main
from hardwatt.core.errors import LabError

# Student (1908): extra hours of sleep of ten patients with two drugs; R: data(sleep).
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


@pytest.fixture
def sleep(tmp_path: Path) -> Path:
    lines = ["pair,arm,value"]
    for patient, (one, two) in enumerate(zip(DRUG_1, DRUG_2, strict=True), start=1):
        rows = [f"{patient},drug 1,{one}", f"{patient},drug 2,{two}"]
        lines += rows if patient % 2 else rows[::-1]
    (tmp_path / "sleep.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "sleep.csv"


def run_table(path: Path, done: str = "DONE") -> Path:
    """A run table with two factors, as experiment-runner writes one; its last row has the status *done*."""
    lines = ["__run_id,__done,framework,energy"]
    for repetition in range(7):
        lines.append(f"run_0_repetition_{repetition},DONE,flask,{40 + repetition}")
        state = done if repetition == 6 else "DONE"
        lines.append(f"run_1_repetition_{repetition},{state},django,{42.5 + repetition + 0.1 * (repetition % 3)}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_students_sleep_is_rs_paired_t_test(sleep: Path) -> None:
    found = analyse_table(sleep, TableRequest(unit="h"))
    estimate = found["primary"]["estimate"]
    assert (estimate["value"], estimate["low"], estimate["high"]) == pytest.approx(
        (1.58, 0.7001142, 2.4598858), abs=5e-8
    )
    rows = {row["name"]: row["figure"]["value"] for row in found["robustness"]}
    assert rows["Cohen's d_z"] == pytest.approx(1.284558, abs=1e-5)
    assert found["verdict"]["word"] == "more"
    assert found["n"]["value"] == 10
    assert found["pairs"][1]["order"] == ["drug 2", "drug 1"]


def test_the_other_baseline_mirrors_the_answer(sleep: Path) -> None:
    there = analyse_table(sleep)["primary"]["estimate"]
    back = analyse_table(sleep, TableRequest(baseline="drug 2"))["primary"]["estimate"]
    assert (back["value"], back["low"]) == pytest.approx((-there["value"], -there["high"]))


def test_a_run_table_of_experiment_runner(tmp_path: Path) -> None:
    file = run_table(tmp_path / "run_table.csv", done="TODO")
    found = analyse_table(file, TableRequest(Columns(value="energy", arm="framework"), unit="J"))
    assert found["table"]["kind"] == "experiment-runner"
    assert found["n"]["value"] == 6
    d = [2.5 + 0.1 * (k % 3) for k in range(6)]
    interval = stats.ttest_1samp(d, 0).confidence_interval()
    estimate = found["primary"]["estimate"]
    assert (estimate["low"], estimate["high"]) == pytest.approx((interval.low, interval.high))
    reasons = [row["reason"] for row in found["exclusions"]]
    assert "the run failed: is TODO in the table" in reasons
    assert any("shuffle" in note for note in found["notes"])


def test_the_command_writes_results_and_a_page(sleep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(sleep), "--unit", "h", "--margin", "3", "--output", str(tmp_path / "out")]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page.name == "report.html" and "hardwatt did not measure this" in page.read_text()
    text = page.with_suffix(".md").read_text()
    assert "hardwatt did not measure this" in text and "+1.6 h" in text and "## Robustness" in text
    first = (tmp_path / "out" / "results.json").read_bytes()
    assert json.loads(first)["equivalence"]["equivalent"] is True
    analyse_table(sleep, TableRequest(unit="h", margin=3.0), tmp_path / "again")
    assert (tmp_path / "again" / "results.json").read_bytes() == first


def test_three_arms_have_their_contrasts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["pair,arm,value"]
    lines += [f"{b},{arm},{b + k * 2 + (b * 7 + k) % 3 / 10}" for b in range(1, 8) for k, arm in enumerate("abc")]
    (tmp_path / "three.csv").write_text("\n".join(lines))
    assert main(["table", str(tmp_path / "three.csv"), "--output", str(tmp_path / "out")]) == 0
    text = Path(capsys.readouterr().out.strip()).with_suffix(".md").read_text()
    assert "## Every arm against a" in text
    row = next(line for line in text.splitlines() if line.startswith("| c minus a |"))
    assert re.search(r"\| \+(3\.9|4\.)", row), row


def test_windows_with_different_commits_give_a_break_even_rate(tmp_path: Path) -> None:
    lines = ["pair,arm,value,commits,seconds"]
    for pair, commits in enumerate([1, 20, 60] * 4):
        wobble = (pair * 7 % 5 - 2) / 10
        lines += [f"{pair},push,{100 + commits + wobble},{commits},1800", f"{pair},pull,115,{commits},1800"]
    (tmp_path / "rates.csv").write_text("\n".join(lines))
    found = analyse_table(tmp_path / "rates.csv")["break_even"]
    assert found["word"] == "above"
    assert found["rate"]["low"] < 30 < found["rate"]["high"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pair,arm,value\n", "no rows"),
        ("a,b\n1,2\n", "no column 'value', 'arm', 'pair'"),
        ("pair,arm,value\n1,x,one\n", "'one' in the column 'value' is not a number"),
        ("pair,arm,value\n1,x,nan\n", "is not a number"),
        ("pair,arm,value\n1,x,1\n2,x,3\n", "two arms or more"),
        ("pair,arm,value\n1,x,1\n1,y,2\n1,y,3\n", "more than one row"),
        ("pair,arm,value\n,x,1\n", "column 'pair' is empty"),
        ("__run_id,__done,arm,value\nfirst,DONE,x,1\n", "names no repetition"),
    ],
)
def test_mistakes_are_named_with_their_row(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(LabError, match=says):
        analyse_table(tmp_path / "t.csv")
    with pytest.raises(LabError, match="no table"):
        analyse_table(tmp_path / "nothing.csv")


def test_a_baseline_that_is_not_there(sleep: Path) -> None:
    with pytest.raises(LabError, match="no row has the arm"):
        analyse_table(sleep, TableRequest(baseline="placebo"))


def test_a_directory_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LabError, match="is a directory"):
        analyse_table(tmp_path)
    assert main(["table", str(tmp_path)]) != 0
    assert "is a directory" in capsys.readouterr().err


def test_a_pair_with_more_digits_than_python_converts_is_a_name(tmp_path: Path) -> None:
    lines = [f"{'9' * 5000}{pair},{arm},{pair + 1}" for pair in range(7) for arm in ("a", "b")]
    (tmp_path / "t.csv").write_text("\n".join(["pair,arm,value", *lines]) + "\n")
    assert analyse_table(tmp_path / "t.csv")["n"]["value"] == 7
