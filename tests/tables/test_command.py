"""``hardwatt table``: the design before the statistics, options, questions, and commands that work as printed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardwatt.analysis import Columns, TableRequest
from hardwatt.cli import table_terminal
from hardwatt.cli.console import main
from hardwatt.core.errors import LabError
from tests.tables.helpers import DRUG_1, DRUG_2, answer, bounds, long, reasons, robust, sleep, write

BENCH = ["compiler,threads,rep,energy_J,time_s"]
BENCH += [
    f"{compiler},{threads},{rep},{round(50 * threads + 4 * place + rep % 4, 2)},{round(9 / threads + rep / 7, 3)}"
    for place, compiler in enumerate(("gcc", "clang"))
    for threads in (1, 2, 4)
    for rep in range(8)
]
"""Two outcomes, a numeric factor and a repetition number."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line in an empty folder; return exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def ran(line: str) -> tuple[int, str, str]:
        code = main(shlex.split(line))
        out, err = capsys.readouterr()
        return code, out, err

    return ran


def results(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "results" / name / "results.json").read_text())
    return found


def test_what_is_seen_is_printed_before_the_page(run: Any, tmp_path: Path) -> None:
    lines = long([(k, k + 1 + k % 3) for k in range(8)], ("old", "new"), ";")
    lines[3] = lines[3].rpartition(";")[0] + ";"
    write(tmp_path / "t.csv", lines, "latin-1")
    code, out, _ = run("table t.csv")
    assert code == 0
    seen, page = out.rstrip().rsplit("\n", 1)
    assert page == "results/t/report.html"
    for words in (
        "16 rows, 3 columns", "separator semicolon", "decimal point", "'arm' [arm]: text, 2 different: 'old', 'new'",
        "'old' 7, 'new' 8", "unpaired", "1 row excluded: the column 'value' is blank (first: line 4)",
        "say --pair pair", "unit: not known",
    ):  # fmt: skip
        assert words in seen, words


def test_an_option_that_is_missing_ends_with_two_and_a_command_that_works(run: Any, tmp_path: Path) -> None:
    write(tmp_path / "bench.csv", BENCH)
    code, out, err = run("table bench.csv")
    assert (code, out) == (2, "")
    assert "--value: 'energy_J', 'time_s'" in err and "--arm: 'compiler', 'threads'" in err
    command = err.rpartition("next: hardwatt ")[2].strip()
    code, out, _ = run(command)
    assert code == 0
    assert "further factors: 'threads'" in out
    found = results(tmp_path, "bench")
    assert bounds(found)[0] == pytest.approx(4)
    assert found["primary"]["estimate"]["unit"] == "J"
    assert not (tmp_path / "results" / "bench" / "results.json.part").exists()


def test_every_guess_is_an_option_of_the_command_that_is_printed(run: Any, tmp_path: Path) -> None:
    write(tmp_path / "my bench.csv", BENCH)
    for line in (
        "--value energy_J --arm compiler",
        "--value energy_J --arm threads --where compiler=gcc",
        "--value time_s --arm compiler --ignore threads",
        "--value energy_J --arm compiler --pair rep",
    ):
        code, out, _ = run(f"table 'my bench.csv' {line} --output one")
        assert code == 0, line
        stated = re.search(r"stated in full: hardwatt (.*)", out)
        assert stated
        code, again, _ = run(f"{stated[1]} --output two")
        assert code == 0 and "recognised: " not in again
        one, two = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two"))
        one["design"]["guessed"] = []
        assert one == two


def test_where_keeps_rows_and_may_be_given_several_times(run: Any, tmp_path: Path) -> None:
    write(tmp_path / "bench.csv", BENCH)
    assert run("table bench.csv --value energy_J --arm compiler --where threads=4 --where rep=3")[0] == 0
    assert results(tmp_path, "bench")["n"]["value"] == 2
    code, _, err = run("table bench.csv --value energy_J --arm compiler --where threads=3")
    assert code == 1 and "there are: '1', '2', '4'" in err and "next: for example: --where threads=1" in err
    code, _, err = run("table bench.csv --value energy_J --arm compiler --where threads")
    assert code == 1 and "is not FACTOR=LEVEL" in err


def test_baseline_and_against_choose_the_headline(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", long([(k, k + 2 + k % 2, k + 5 - k % 3) for k in range(8)]))
    found = answer(path, TableRequest(baseline="b", against="c"))
    assert found["primary"]["direction"] == "c minus b"
    assert found["arms"] == ["b", "c", "a"]
    for asked in (TableRequest(baseline="x"), TableRequest(against="x"), TableRequest(baseline="a", against="a")):
        with pytest.raises(LabError):
            answer(path, asked)


def test_a_wide_table_has_an_arm_in_each_column(run: Any, tmp_path: Path) -> None:
    lines = ["machine,before,after,later", *(f"m{k},{50 + k},{51 + k + k % 3 / 10},{52 + k}" for k in range(8))]
    write(tmp_path / "wide.csv", lines)
    assert run("table wide.csv --arms before,after")[0] == 0
    loose = results(tmp_path, "wide")
    assert loose["arms"] == ["before", "after"] and not loose["design"]["paired"]
    assert run("table wide.csv --arms before,after,later --pair machine")[0] == 0
    tight = results(tmp_path, "wide")
    assert bounds(tight)[0] == pytest.approx(bounds(loose)[0])
    assert bounds(tight)[2] - bounds(tight)[1] < (bounds(loose)[2] - bounds(loose)[1]) / 5
    assert run("table wide.csv --arms before")[0] == 1
    assert run("table wide.csv --arms before,never")[0] == 1


def test_repetitions_in_a_pair_count_once(tmp_path: Path) -> None:
    lines = ["block,rep,arm,value"]
    lines += [
        f"{block},{rep},{arm},{10 * block + place + (rep * 5 + block) % 4 / 10}"
        for block in range(7)
        for rep in range(4)
        for place, arm in enumerate("ab")
    ]
    path = write(tmp_path / "t.csv", lines)
    means = answer(path, TableRequest(Columns(pair="block")))
    assert means["n"]["value"] == 7
    assert any("pseudo-replication" in note for note in means["notes"])
    nested = answer(path, TableRequest(Columns(pair=("block", "rep"))))
    assert nested["n"]["value"] == 28
    assert any("28 pairs lie in 4 levels of 'rep'" in note for note in nested["notes"])


def test_units_that_lie_in_one_arm_are_named_and_can_be_averaged(tmp_path: Path) -> None:
    lines = ["arm,session,value"]
    lines += [
        f"{arm},{arm}{session},{20 + 3 * place + session + rep % 3 / 9}"
        for place, arm in enumerate("ab")
        for session in range(5)
        for rep in range(6)
    ]
    path = write(tmp_path / "t.csv", lines)
    loose = answer(path)
    assert any("--average session" in note and "pseudo-replication" in note for note in loose["notes"])
    tight = answer(path, TableRequest(average="session"))
    assert (loose["n"]["value"], tight["n"]["value"]) == (60, 10)
    assert bounds(tight)[2] - bounds(tight)[1] > bounds(loose)[2] - bounds(loose)[1]


def test_a_benchmark_with_one_row_for_each_arm_is_named_as_a_pair(tmp_path: Path) -> None:
    lines = ["benchmark,compiler,joules"]
    lines += [f"bench{k},{name},{2**k + place * k}" for k in range(9) for place, name in enumerate(("gcc", "clang"))]
    found = answer(write(tmp_path / "t.csv", lines), TableRequest(Columns(value="joules", arm="compiler")))
    assert not found["design"]["factors"]
    assert any("--pair benchmark" in note for note in found["notes"])


def test_a_few_runs_are_described_and_no_more(tmp_path: Path) -> None:
    found = answer(write(tmp_path / "t.csv", long([(1, 5), (2, 7), (3, 9)])))
    assert found["verdict"]["word"] == "description"
    assert found["contrasts"][0]["p"] is None and found["contrasts"][0]["adjusted"] is None
    one = answer(write(tmp_path / "one.csv", long([(1, 5)])))
    assert bounds(one) == (4, None, None)


def test_outliers_are_flagged_with_the_answer_without_them(tmp_path: Path) -> None:
    rows = [(50 + k % 4, 52 + k % 5) for k in range(12)]
    rows[3] = (50, 95)
    found = answer(write(tmp_path / "t.csv", long(rows)))
    assert [row["flagged"]["value"] for row in found["samples"]] == [0, 1]
    assert found["contrasts"][0]["without_flagged"]["value"] < bounds(found)[0] - 3
    assert bounds(found)[0] == pytest.approx(sum(b - a for a, b in rows) / 12)


def test_students_sleep_both_ways(tmp_path: Path) -> None:
    """R: t.test(extra ~ group, data = sleep), with and without paired = TRUE."""
    path = sleep(tmp_path / "sleep.csv")
    assert bounds(answer(path)) == pytest.approx((1.58, -0.2054832, 3.3654832), abs=5e-8)
    paired = answer(path, TableRequest(Columns(pair="pair"), unit="h"))
    assert bounds(paired) == pytest.approx((1.58, 0.7001142, 2.4598858), abs=5e-8)
    assert robust(paired)["Cohen's d_z"] == pytest.approx(1.284558, abs=1e-5)
    assert paired["verdict"]["word"] == "more"
    back = answer(path, TableRequest(Columns(pair="pair"), baseline="drug 2"))
    assert bounds(back) == pytest.approx((-1.58, -2.4598858, -0.7001142), abs=5e-8)


def test_the_page_has_what_a_reviewer_asks_for(run: Any, tmp_path: Path) -> None:
    sleep(tmp_path / "sleep.csv")
    assert run("table sleep.csv --unit h --margin 4 --seed 3 --confidence 0.9")[0] == 0
    folder = tmp_path / "results" / "sleep"
    page = (folder / "report.html").read_text()
    for words in (
        "hardwatt did not measure this", "Every contrast", "Cliff&#39;s delta", "Hedges&#39; g", "Assumptions",
        "No test was chosen by them", "scipy", "sha256:", "--confidence 0.9", "<code>data.csv</code>",
        "Computed with hardwatt",
    ):  # fmt: skip
        assert words in page, words
    assert (folder / "data.csv").read_bytes() == (tmp_path / "sleep.csv").read_bytes()
    first = (folder / "results.json").read_bytes()
    assert run("table sleep.csv --unit h --margin 4 --seed 3 --confidence 0.9")[0] == 0
    assert (folder / "results.json").read_bytes() == first


@pytest.mark.parametrize(
    "line", ["--confidence 2", "--margin -1", "--separator ab", "--decimal dot", "--encoding ebcdic"]
)
def test_a_wrong_option_is_refused(line: str, run: Any, tmp_path: Path) -> None:
    sleep(tmp_path / "sleep.csv")
    code, _, err = run(f"table sleep.csv {line}")
    assert code == 1 and "error: " in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("pair,arm,value\n", "no rows below its header"),
        ("value\n1\n2\n", "no column whose values could be arms"),
        ("arm,value\n,1\n,2\n", "a comparison needs two arms"),
        ("arm,value\nx,1\nx,2\n", "a comparison needs two arms"),
        ("arm,value\na,\nb,\n", "no row of t.csv can be used"),
        ("PK\x03\x04 xl", "a spreadsheet"),
        ("just some words\nand more\n", "no separator was recognised"),
        ("a,b\x00c\n1,2\n", "zero bytes"),
        ('arm,value\na,"1\nb,2\n', "line 3: unexpected end of data"),
    ],
)
def test_what_is_no_table_is_refused(text: str, says: str, run: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    code, _, err = run("table t.csv")
    assert code == 1 and re.search(says, err), err
    assert not (tmp_path / "results").exists()


def test_a_long_header_is_cut_and_prints_no_control_characters(run: Any, tmp_path: Path) -> None:
    header = ",".join([f"a column with a very long name indeed {k} " + "x" * 500 for k in range(200)] + ["\x1b[31mred"])
    write(tmp_path / "t.csv", [header, ",".join(["1"] * 201)])
    for line in ("table t.csv", "table t.csv --value nothing"):
        code, out, err = run(line)
        assert code and len(out + err) < 4000
        assert "\x1b" not in out + err
    write(tmp_path / "names.csv", long([(k, k * 2) for k in range(8)], ("\x1b[2Jold", "new\x07")))
    code, out, _ = run("table names.csv")
    assert code == 0 and not re.search(r"[\x00-\x09\x0b-\x1f]", out)


def test_at_a_terminal_what_is_missing_is_asked(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "bench.csv", BENCH)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    answers = iter(["2", "compiler"])
    monkeypatch.setattr("builtins.input", lambda question: next(answers))
    code, out, _ = run("table bench.csv")
    assert code == 0
    assert "which column is the outcome? (--value)" in out and "2  'time_s'" in out
    assert results(tmp_path, "bench")["design"]["value"] == "time_s"
    monkeypatch.setattr("builtins.input", lambda question: "")
    assert run("table bench.csv")[0] == 2
    monkeypatch.setattr("builtins.input", lambda question: "neither")
    assert run("table bench.csv")[0] == 1


def test_nobody_is_asked_elsewhere() -> None:
    assert table_terminal.choose("--arm", "which?", ["a", "b"]) == ""


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12).filter(
    lambda name: not any(mark in name for mark in ",;\t|\"' ") and name.strip() == name
)


@given(names, names, st.sampled_from(",;\t|"), st.permutations(range(10)), st.sampled_from(["utf-8", "utf-16"]))
@settings(max_examples=40)
def test_names_row_order_separator_and_encoding_do_not_change_the_answer(
    tmp_path_factory: pytest.TempPathFactory, one: str, two: str, separator: str, places: list[int], encoding: str
) -> None:
    if one == two:
        return
    rows = [(a, b) for a, b in zip(DRUG_1, DRUG_2, strict=True)]
    path = tmp_path_factory.mktemp("t") / "t.csv"
    lines = long(rows, (one, two), separator)
    shuffled = [lines[0], *(lines[1 + 2 * k + side] for k in places for side in (k % 2, 1 - k % 2))]
    write(path, shuffled, encoding)
    asked = TableRequest(Columns(pair="pair"), baseline=one)
    assert bounds(answer(path, asked)) == pytest.approx((1.58, 0.7001142, 2.4598858), abs=5e-8)
    loose = answer(path, TableRequest(baseline=one))
    assert bounds(loose) == pytest.approx((1.58, -0.2054832, 3.3654832), abs=5e-8)
    assert loose["arms"] == [one, two] and not reasons(loose)
