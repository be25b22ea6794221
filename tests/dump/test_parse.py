"""Answers of the API: the quick way gives what the JSON decoder gives, and odd ones are told."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardwatt.dump import parse
from hardwatt.dump.parse import OddError


def body(*rows: dict[str, Any], **more: Any) -> str:
    document = {"status": "success", "data": {"resultType": "matrix", "result": list(rows)}, **more}
    return json.dumps(document, separators=(",", ":"))


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr), st.sampled_from(["NaN", "+Inf", "-Inf"])
)
rows = st.fixed_dictionaries(
    {
        "metric": st.dictionaries(st.text(), st.text(max_size=8), max_size=4),
        "values": st.lists(
            st.tuples(st.integers(0, 2_000_000_000_000).map(lambda ms: ms / 1000), numbers), min_size=1, max_size=9
        ),
    }
)


@settings(deadline=None)
@given(st.lists(rows, max_size=4))
def test_the_quick_way_gives_what_the_decoder_gives(series: list[dict[str, Any]]) -> None:
    text = body(*({"metric": one["metric"], "values": one["values"]} for one in series))
    quick, whole = parse._quick(text).series(), parse._whole(text)
    assert [one.labels for one in quick] == [one["metric"] for one in series]
    for ours, theirs in zip(quick, whole, strict=True):
        assert ours.ts.tolist() == theirs.ts.tolist()
        np.testing.assert_array_equal(ours.values, theirs.values)


def test_labels_that_look_like_the_numbers_end() -> None:
    text = body({"metric": {"a": ']],"values":[[1,"2"]]}'}, "values": [[1.5, "7"]]})
    (one,) = parse.matrix(text)
    assert (one.labels["a"], one.ts.tolist(), one.values.tolist()) == (']],"values":[[1,"2"]]}', [1500], [7.0])


def test_other_shapes_are_read_as_a_whole() -> None:
    spaced = json.dumps(json.loads(body({"metric": {}, "values": [[1, "2"]]})), indent=1)
    assert parse.matrix(spaced)[0].values.tolist() == [2.0]
    histogram = body({"metric": {}, "values": [[1, "2"]], "histograms": [[1, {"count": "3"}]]})
    assert parse.matrix(histogram)[0].values.tolist() == [2.0]
    only = body({"metric": {"a": "b"}, "histograms": [[1, {"count": "3"}]]})
    assert parse.matrix(only)[0].ts.size == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (body(warnings=["store-2 did not answer"]), "store-2 did not answer"),
        (body({"metric": {}, "values": [[1, "2"]]})[:-30], "delimiter|Unterminated|Expecting"),
        ('{"status":"error","error":"x"}', "no success"),
        ('{"status":"success","data":{"resultType":"matrix","result":{}}}', "no result"),
        (body({"metric": {}, "values": [[1, "two"]]}), "without labels or values"),
        ('{"status":"success","data":{"resultType":"matrix","result":[7]}}', "without labels or values"),
    ],
)
def test_odd_answers_are_told(text: str, message: str) -> None:
    with pytest.raises(OddError, match=message):
        parse.matrix(text)
