"""Whatever a file holds, and whatever options say: an answer, or an error with a reason; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardwatt.analysis import Columns, TableRequest, analyse_table
from hardwatt.core.errors import LabError
from hardwatt.report.render import table

CELLS = st.one_of(
    st.sampled_from(
        ["", " ", "a", "b", "A", "0", "1", "1.5", "-3", "1e308", "-1e308", "1e-320", "NaN", "inf", "1,5", "1_0"]
    ),
    st.sampled_from(
        ["DONE", "TODO", "run_0_repetition_1", "run_1", "2026-11-30T10:00:00", "{{ x }}", "a|b", "<b>", "\\", '"']
    ),
    st.integers(-3, 3).map(str),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(str),
    st.text(max_size=4),
)
HEADERS = st.lists(
    st.sampled_from(["arm", "value", "pair", "load", "energy (J)", "rep", "order", "__run_id", "__done", "", "value "]),
    min_size=1,
    max_size=6,
)
REQUESTS = st.sampled_from(
    [
        TableRequest(),
        TableRequest(Columns(pair="pair"), margin=1.0),
        TableRequest(Columns(value="value", arm="arm"), order="order"),
        TableRequest(Columns(value="value", arm="arm", pair=("pair", "rep")), unit="J"),
        TableRequest(Columns(value="energy (J)", arm="load"), signed=True, average="rep"),
        TableRequest(where=("load=a",), baseline="a", against="b"),
        TableRequest(arms=("value", "load")),
        TableRequest(Columns(arm="arm"), factors=("load",), decimal="comma"),
    ]
)


@given(HEADERS, st.lists(st.lists(CELLS, min_size=6, max_size=6), max_size=14), st.sampled_from(",;\t|"), REQUESTS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cells_end_in_an_answer_or_an_error(
    tmp_path: Path, header: list[str], rows: list[list[str]], separator: str, asked: TableRequest
) -> None:
    lines = [separator.join(header), *(separator.join(row[: len(header)]) for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogatepass")
    try:
        page = table(tmp_path / "t.csv", asked, output=tmp_path / "out", figures=tmp_path / "figures")
    except LabError as error:
        assert str(error)
    else:
        assert json.loads(page.with_name("results.json").read_text())["schema"] == "hardwatt.table/2"


VALUES = st.one_of(
    st.sampled_from(["", "0", "1e308", "-1e99", "9e99", "1e-320", "-0.0", "1e-99", "1000000000000000001", "0.1"]),
    st.integers(-2, 5).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
ROWS = st.lists(
    st.tuples(st.sampled_from("12345"), st.sampled_from("aaabbbc"), st.sampled_from("xxy"), VALUES),
    min_size=2,
    max_size=30,
)
OPTIONS = st.sampled_from(
    [
        TableRequest(Columns("value", "arm")),
        TableRequest(Columns("value", "arm"), factors=("load",), signed=True),
        TableRequest(Columns("value", "arm", "pair"), signed=True, margin=0.5, order="place"),
        TableRequest(Columns("value", "arm", ("pair", "load")), ignore=("load",), unit="J"),
        TableRequest(Columns("value", "arm"), signed=True, margin=2.0, order="place", level=0.999),
        TableRequest(Columns("value", "arm"), signed=True, ignore=("load",), average="pair"),
    ]
)


@given(ROWS, OPTIONS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_numbers_end_in_an_answer_or_an_error(
    tmp_path: Path, rows: list[tuple[str, str, str, str]], asked: TableRequest
) -> None:
    lines = ["pair,arm,load,value,place", *(",".join((*row, str(place))) for place, row in enumerate(rows))]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    try:
        table(tmp_path / "t.csv", asked, output=tmp_path / "out", figures=tmp_path / "figures")
    except LabError as error:
        assert str(error)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"{", b"# TYPE "]),
)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_end_in_an_answer_or_an_error(tmp_path: Path, data: bytes, start: bytes) -> None:
    (tmp_path / "t.bin").write_bytes(start + data)
    with pytest.raises(LabError) as refused:
        analyse_table(tmp_path / "t.bin")
    assert "\x1b" not in str(refused.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False)
    | st.sampled_from(["success", "vector", "x", "1"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["results", "command", "times", "benchmarks", "machine_info", "stats", "data", "name", "status", "result",
             "resultType", "metric", "value", "comparison_case", "unit", "values", "exit_codes", "parameters"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=14,
)  # fmt: skip


@given(JSON)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_ends_in_an_answer_or_an_error(tmp_path: Path, document: Any) -> None:
    (tmp_path / "t.json").write_text(json.dumps(document))
    try:
        analyse_table(tmp_path / "t.json")
    except LabError as error:
        assert str(error)
