"""Tables as people have them: every kind that once went wrong, each in two instances."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hardwatt.analysis import Columns, TableRequest
from hardwatt.core.errors import LabError
from hardwatt.report.render import table
from tests.tables.helpers import PAIRED, answer, bounds, long, reasons, robust, write

PLAIN = [(53.301, 53.61), (47.925, 49.487), (47.237, 49.055), (50.54, 50.81), (49.978, 50.257), (51.236, 53.271)]


def pages(path: Path, asked: TableRequest | None = None) -> tuple[str, str, str]:
    """Return HTML, Markdown and JSON of a table."""
    page = table(path, asked, output=path.parent / "out")
    return tuple(page.with_name(name).read_text() for name in ("report.html", "report.md", "results.json"))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("arms", "in_html", "in_markdown"),
    [
        (("3.0", "3.2"), "3.0", "3.0"),
        (("2", "3.12"), "3.12", "3.12"),
        (("v1.0", "v1.2"), "v1.2", "v1.2"),
        (("a.b", "items"), "items", "a.b"),
        (("llama3.1:8b", "phi3:3.8b"), "llama3.1:8b", "llama3.1:8b"),
        (("a|b", "<b>"), "&lt;b&gt;", r"a\|b"),
        (("{{ 7 * 7 }}", "{% raw %}"), "{{ 7 * 7 }}", "{{ 7 \\* 7 }}"),
        (("first minus second", "values"), "values", "first minus second"),
        (("`x`", "[y](z)"), "[y](z)", r"\`x\`"),
        (("größer", "😀"), "größer", "😀"),
    ],
)
def test_names_are_text_everywhere(arms: tuple[str, str], in_html: str, in_markdown: str, tmp_path: Path) -> None:
    for asked in (None, PAIRED):
        html, markdown, json_text = pages(write(tmp_path / "t.csv", long(PLAIN, arms)), asked)
        assert in_html in html and "<b> minus" not in html
        assert in_markdown in markdown
        assert all(arm in json_text for arm in arms)


@pytest.mark.parametrize(
    "rows", [[(5, 5)] * 6, [("5.0", "6.0")] * 8, [("0.1", "0.3")] * 7, [(k, k + 2) for k in range(7)]]
)
def test_equal_differences_are_a_result_without_scatter(rows: list[tuple[object, object]], tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", long(rows))
    found = answer(path, PAIRED)
    value, low, high = bounds(found)
    assert value == low == high == pytest.approx(float(str(rows[0][1])) - float(str(rows[0][0])))
    assert found["verdict"]["word"] == "description"
    assert "No scatter" in found["verdict"]["why"]
    assert "No scatter" in pages(path, PAIRED)[0]
    assert bounds(answer(path))[0] == pytest.approx(value)


def test_a_constant_arm_beside_one_that_scatters_has_an_interval(tmp_path: Path) -> None:
    rows = [(5, 6 + k % 3 / 10) for k in range(8)]
    found = answer(write(tmp_path / "t.csv", long(rows)))
    assert found["verdict"]["word"] == "more"
    assert bounds(found)[1] > 1


@pytest.mark.parametrize(
    ("lines", "line", "says"),
    [
        (["pair,arm,value", "1,push,100,67", "1,pull,101,27"], 2, "decimal comma"),
        (["pair,arm,value", "1,push,100", "1,pull,101,27"], 3, "decimal comma"),
        (["pair,arm,value,note", "1,push,100,ok", "2,push,5,a, b"], 3, "quotation marks"),
        (["pair,arm,value", "1,push,100", "1,pull"], 3, "complete the line"),
        (["pair;arm;value", "1;push;100;7", "1;pull;101;27"], 2, "4 fields"),
    ],
)
def test_a_row_that_does_not_fit_its_header_is_refused(lines: list[str], line: int, says: str, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=f"line {line}: ") as refused:
        answer(write(tmp_path / "t.csv", lines))
    assert says in str(refused.value)


def test_empty_fields_behind_the_last_column_are_no_surplus(tmp_path: Path) -> None:
    assert bounds(answer(write(tmp_path / "t.csv", [f"{line},," if k else line for k, line in enumerate(long(PLAIN))])))


@pytest.mark.parametrize(
    ("header", "option", "places"),
    [("pair,arm,value,value", "--value", (3, 4)), ("arm,pair,arm,value", "--arm", (1, 3))],
)
def test_of_two_equal_headers_neither_wins(header: str, option: str, places: tuple[int, int], tmp_path: Path) -> None:
    lines = [header, *(f"{k},{'ab'[k % 2]},{k % 3},900.{k}" for k in range(8))]
    with pytest.raises(LabError, match=f"column {places[0]} and column {places[1]}") as refused:
        answer(write(tmp_path / "t.csv", lines))
    assert option in str(refused.value)


def test_equal_headers_that_nobody_uses_do_not_matter(tmp_path: Path) -> None:
    lines = [f"{line},x,y" if k else f"{line},note,note" for k, line in enumerate(long(PLAIN))]
    assert bounds(answer(write(tmp_path / "t.csv", lines)))[0] == pytest.approx(1.0455)


def test_the_only_column_of_numbers_names_the_line_that_is_none(tmp_path: Path) -> None:
    lines = ["arm,watts", *(f"{'ab'[k % 2]},{'inf' if k == 5 else 40 + k}" for k in range(12))]
    with pytest.raises(LabError, match="line 7: 'inf' in the column 'watts' is not a number: an infinite value"):
        answer(write(tmp_path / "t.csv", lines))


@pytest.mark.parametrize("text", ["1_000", "1,000.5", "12 J", "0x1F", "1e", "٣", "inf", "-Infinity", "1.2.3", "ten"])
def test_what_is_not_a_number_is_not_read_as_one(text: str, tmp_path: Path) -> None:
    lines = [*long(PLAIN), f'9,a,"{text}"']
    with pytest.raises(LabError, match=r"line 14: .* in the column 'value' is not a number: ") as refused:
        answer(write(tmp_path / "t.csv", lines))
    assert "next: " in str(refused.value)


@pytest.mark.parametrize(
    "names", [("1", "01", "2", "3", "4", "5", "6", "7"), ("x", " y", "1.0", "1", "1e0", "z", "Z", "zz")]
)
def test_a_pairs_name_is_text_and_shown_as_given(names: tuple[str, ...], tmp_path: Path) -> None:
    lines = ["pair,arm,value"]
    for place, name in enumerate(names, start=1):
        lines += [f"{name},a,{place}", f"{name},b,{place + 1 + place % 2}"]
    found = answer(write(tmp_path / "t.csv", lines), PAIRED)
    assert [row["pair"] for row in found["pairs"]] == [name.strip() for name in names]
    assert found["n"]["value"] == 8


def test_decimal_ties_are_ties(tmp_path: Path) -> None:
    steps = [("1.0", "1.1"), ("1.1", "1.2"), ("1.2", "1.3"), ("1.3", "1.4")]
    rows = [*steps, ("1.5", "1.4"), ("1.6", "1.5"), ("1.7", "1.8"), ("1.9", "2.0")]
    found = robust(answer(write(tmp_path / "t.csv", long(rows)), PAIRED))
    assert found["Wilcoxon"] == pytest.approx(0.1573, abs=5e-5)
    assert found["Rank-biserial correlation"] == pytest.approx(0.5)
    halved = [(f"{float(a) / 1000:.4f}", f"{float(b) / 1000:.4f}") for a, b in rows]
    assert robust(answer(write(tmp_path / "m.csv", long(halved)), PAIRED))["Wilcoxon"] == pytest.approx(
        found["Wilcoxon"]
    )


ORDERED = re.compile("Trend|Drift|Carry|place|Autocorrelation|Newey|bootstrap", re.IGNORECASE)


def descending() -> list[str]:
    rows = [(10, 10 + k + k % 2 / 10) for k in range(9)]
    return ["pair,arm,value", *(f"{9 - k},{arm},{row[j]}" for k, row in enumerate(rows) for j, arm in enumerate("ab"))]


@pytest.mark.parametrize("asked", [None, PAIRED])
def test_nothing_is_said_of_an_order_that_nobody_declared(asked: TableRequest | None, tmp_path: Path) -> None:
    sorted_by_arm = [
        "pair,arm,value",
        *(f"{k},{arm},{50 + 9 * j + k % 3}" for j, arm in enumerate("ab") for k in range(8)),
    ]
    for name, lines in (("desc.csv", descending()), ("sorted.csv", sorted_by_arm)):
        found = answer(write(tmp_path / name, lines), asked)
        assert not [
            row["name"] for row in found["robustness"] if ORDERED.search(row["name"].replace("Studentised b", ""))
        ]
        assert all(row["order"] == [] for row in found["pairs"])


def test_a_declared_order_is_the_one_that_is_used(tmp_path: Path) -> None:
    lines = [f"{line},{20 - k}" if k else f"{line},place" for k, line in enumerate(descending())]
    found = answer(write(tmp_path / "t.csv", lines), TableRequest(Columns(pair="pair"), order="place"))
    assert found["pairs"][0]["pair"] == "1" and found["pairs"][0]["order"] == ["b", "a"]
    assert robust(found)["Trend of the differences"] == pytest.approx(-1.0, abs=0.05)
    moments = [f"{line},2026-11-30T10:{k:02}:00" if k else f"{line},start" for k, line in enumerate(descending())]
    found = answer(write(tmp_path / "m.csv", moments), TableRequest(Columns(pair="pair"), order="start"))
    assert robust(found)["Trend of the differences"] == pytest.approx(1.0, abs=0.05)
    with pytest.raises(LabError, match="neither a number nor a moment"):
        answer(tmp_path / "m.csv", TableRequest(order="arm"))


def test_an_effect_of_the_arm_is_no_drift(tmp_path: Path) -> None:
    lines = [
        "arm,value,place",
        *(f"{arm},{50 + 9 * j + k % 3},{8 * j + k}" for j, arm in enumerate("ab") for k in range(8)),
    ]
    rows = robust(answer(write(tmp_path / "t.csv", lines), TableRequest(order="place")))
    assert abs(rows["Drift over the runs, arms taken out"]) < 0.1


def three(gaps: dict[str, set[int]]) -> list[str]:
    rows = [(48 + k % 4, 49.5 + k % 4 + k / 10, 51 + k % 3 - k / 9) for k in range(1, 9)]
    return [
        line
        for line in long(rows)
        if int(line[0] if line[0].isdigit() else 0) not in gaps.get(line.split(",")[1], set())
    ]


@pytest.mark.parametrize("gaps", [{"c": {3, 5}}, {"a": {1}, "c": {3}}])
def test_exclusions_are_those_of_all_arms_and_the_headline_is_a_contrast(
    gaps: dict[str, set[int]], tmp_path: Path
) -> None:
    found = answer(write(tmp_path / "t.csv", three(gaps)), PAIRED)
    missing = sum(len(rows) for rows in gaps.values())
    assert sum(reasons(found).values()) >= missing
    assert "no usable run of c" in " ".join(reasons(found))
    headline = found["contrasts"][0]
    assert headline["headline"] and headline["estimate"] == found["primary"]["estimate"]
    assert headline["adjusted"]["value"] >= headline["p"]["value"]
    assert found["primary"]["level"]["value"] == pytest.approx(97.5)
    assert "every row counts" not in pages(tmp_path / "t.csv", PAIRED)[1]


def test_arms_that_differ_in_case_are_different_and_said(tmp_path: Path) -> None:
    lines = ["pair,arm,value"]
    for pair in range(8):
        arms = "ab" if pair % 2 else "AB"
        lines += [f"{pair},{arms[0]},{50 + pair}", f"{pair},{arms[1]},{51 + pair % 3}"]
    found = answer(write(tmp_path / "t.csv", lines))
    assert sorted(found["arms"]) == ["A", "B", "a", "b"]
    assert any("upper and lower case" in note for note in found["notes"])
    assert len(found["contrasts"]) == 3


def run_table(cells: dict[tuple[str, str], list[str]], done: str = "DONE") -> list[str]:
    """experiment-runner's table: a row for each combination and repetition; a blank value is still to do."""
    lines = ["__run_id,__done,framework,workload,energy (uJ)"]
    for number, ((framework, workload), values) in enumerate(cells.items()):
        for repetition, value in enumerate(values):
            state = done if value.strip() else done.replace("DONE", "TODO")
            lines.append(f"run_{number}_repetition_{repetition},{state},{framework},{workload},{value}")
    return lines


def cells(small_a: bool, small_b: bool, large_a: bool, large_b: bool) -> dict[tuple[str, str], list[str]]:
    def values(measured: bool, level: float) -> list[str]:
        return [f"{level + k % 3}" if measured else " " for k in range(6)]

    return {
        ("A", "small"): values(small_a, 100), ("B", "small"): values(small_b, 103),
        ("A", "large"): values(large_a, 1000), ("B", "large"): values(large_b, 1005),
    }  # fmt: skip


ARM = TableRequest(Columns(arm="framework"))


def test_a_crossed_design_compares_equal_combinations_only(tmp_path: Path) -> None:
    path = write(tmp_path / "run_table.csv", run_table(cells(True, False, False, True)))
    for asked in (ARM, TableRequest(Columns(arm="framework", pair="repetition"))):
        with pytest.raises(LabError) as refused:
            answer(path, asked)
        assert "A" in str(refused.value) and "B" in str(refused.value) and "next: " in str(refused.value)
    with pytest.raises(LabError, match="small: no usable run of B; large: no usable run of A") as crossed:
        answer(path, ARM)
    assert "--ignore" not in str(crossed.value)


def test_a_crossed_design_is_stratified_and_an_empty_cell_is_named(tmp_path: Path) -> None:
    whole = answer(write(tmp_path / "whole.csv", run_table(cells(True, True, True, True))), ARM)
    assert bounds(whole)[0] == pytest.approx(4.0)
    assert [row["levels"] for row in whole["contrasts"][0]["strata"]] == [["small"], ["large"]]
    part = answer(write(tmp_path / "part.csv", run_table(cells(True, True, True, False))), ARM)
    assert bounds(part)[0] == pytest.approx(3.0)
    assert part["contrasts"][0]["strata"][1]["why"] == "no usable run of B"
    kept = TableRequest(Columns(arm="framework"), where=("workload=large",))
    assert bounds(answer(tmp_path / "whole.csv", kept))[0] == pytest.approx(5.0)


def test_a_plain_table_whose_factor_follows_the_arm_is_refused_with_the_option(tmp_path: Path) -> None:
    lines = [
        "arm,workload,value",
        *(f"A,small,{100 + k}" for k in range(6)),
        *(f"B,large,{1000 + k}" for k in range(6)),
    ]
    path = write(tmp_path / "t.csv", lines)
    with pytest.raises(LabError, match="--ignore workload"):
        answer(path)
    assert bounds(answer(path, TableRequest(ignore=("workload",))))[0] == pytest.approx(900)


@pytest.mark.parametrize("done", ["DONE", "RunProgress.DONE", "done"])
def test_the_words_of_experiment_runner_are_understood(done: str, tmp_path: Path) -> None:
    lines = run_table(cells(True, True, True, True), done)
    lines[3] = lines[3].rpartition(",")[0] + ", "
    found = answer(write(tmp_path / "run_table.csv", lines), ARM)
    assert found["table"]["kind"] == "experiment-runner"
    assert reasons(found) == {"the column 'energy (uJ)' is blank": 1}
    assert found["primary"]["estimate"]["unit"] == "uJ"


@pytest.mark.parametrize("word", ["FAILED", "RunProgress.BROKEN", "", "1"])
def test_an_unknown_word_for_done_is_an_error(word: str, tmp_path: Path) -> None:
    lines = run_table(cells(True, True, True, True))
    lines[2] = lines[2].replace(",DONE,", f",{word},")
    with pytest.raises(LabError, match=r"line 3: .*__done.* is neither DONE nor TODO"):
        answer(write(tmp_path / "run_table.csv", lines), ARM)


def test_a_table_whose_runs_are_all_to_do_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"no row .* can be used: the run is TODO"):
        answer(write(tmp_path / "run_table.csv", run_table(cells(False, False, False, False))), ARM)


@pytest.mark.parametrize("blank", ["", " ", "NaN", "NA", "null", "None", "n/a", "-"])
def test_a_blank_value_is_an_exclusion_with_its_reason(blank: str, tmp_path: Path) -> None:
    lines = long(PLAIN)
    lines[4] = f"2,b,{blank}"
    found = answer(write(tmp_path / "t.csv", lines))
    ((reason, times),) = reasons(found).items()
    assert times == 1 and "the column 'value'" in reason
    assert found["exclusions"][0]["run"] == "line 5"
    assert "no usable run of b" in " ".join(reasons(answer(tmp_path / "t.csv", PAIRED)))


@pytest.mark.parametrize(
    ("name", "text"), [("commits", "a1b2c3d"), ("seconds", "n/a"), ("window", "x"), ("block", "y")]
)
def test_columns_that_no_option_names_mean_nothing(name: str, text: str, tmp_path: Path) -> None:
    lines = [f"{line},{text}" if k else f"{line},{name}" for k, line in enumerate(long(PLAIN))]
    plain = bounds(answer(write(tmp_path / "plain.csv", long(PLAIN)), PAIRED))
    assert bounds(answer(write(tmp_path / "t.csv", lines), PAIRED)) == plain
    html = pages(tmp_path / "t.csv", PAIRED)[0].lower()
    assert not re.search(r"\bcommits?\b|\bplan(ned)?\b|\bwindows?\b", html.partition("</style>")[2])


WRAPPED = [(11000.6 + k / 9, -250769.47 if k == 3 else 11500.7 + k / 7) for k in range(10)]


@pytest.mark.parametrize("unit", ["J", "kWh", "s", "W"])
def test_joules_of_a_run_are_never_below_zero(unit: str, tmp_path: Path) -> None:
    found = answer(write(tmp_path / "t.csv", long(WRAPPED)), TableRequest(unit=unit))
    ((reason, times),) = reasons(found).items()
    assert times == 1 and "below zero" in reason
    assert bounds(found)[0] == pytest.approx(500, rel=0.01)


def test_without_a_unit_a_wrapped_counter_is_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", long(WRAPPED))
    with pytest.raises(LabError, match=r"line 9: .*far below zero") as refused:
        answer(path)
    assert "--unit J" in refused.value.hint and "--signed" in refused.value.hint
    assert bounds(answer(path, TableRequest(signed=True)))[0] < -20000


def test_differences_may_be_below_zero(tmp_path: Path) -> None:
    lines = ["arm,energy difference (J)", *(f"{'ab'[k % 2]},{k % 5 - 3}" for k in range(12))]
    assert not reasons(answer(write(tmp_path / "t.csv", lines)))
    named = ["arm,energy_J", *(f"{'ab'[k % 2]},{k % 5 - 3}" for k in range(12))]
    with pytest.raises(LabError, match="values are below zero") as refused:
        answer(write(tmp_path / "n.csv", named))
    assert "--signed" in refused.value.hint


@pytest.mark.parametrize(
    ("encoding", "separator", "said"),
    [
        ("utf-8", ";", "utf-8"),
        ("utf-8", "\t", "utf-8"),
        ("utf-8", "|", "utf-8"),
        ("utf-8-sig", ",", "byte order mark"),
        ("utf-16", ",", "utf-16"),
        ("utf-16-le", ";", "utf-16-le"),
        ("utf-16-be", "\t", "utf-16-be"),
        ("latin-1", ",", "latin-1"),
        ("cp1252", ";", "cp1252"),
    ],
)
def test_separator_and_encoding_are_recognised_and_said(
    encoding: str, separator: str, said: str, tmp_path: Path
) -> None:
    arms = ("klein", "“größer”" if encoding == "cp1252" else "größer")
    for end in ("\n", "\r\n"):
        path = write(tmp_path / "t.csv", long(PLAIN, arms, separator), encoding, end)
        found = answer(path, PAIRED)
        assert bounds(found)[0] == pytest.approx(1.0455)
        assert found["arms"] == list(arms)
        assert said in found["table"]["encoding"] and found["table"]["separator"] == separator
