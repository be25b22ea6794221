"""Queries by name against a double of the server that knows one answer each."""

import json
import re
from typing import Any

import pytest

from hardwatt.cluster import port_forward
from hardwatt.config.lab import Lab, open_lab
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.energy import query
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.live import Energy


class FakeClient:
    """Answers what it was given, and fails on any other question."""

    def __init__(self, answers: dict[str, list[Any]]) -> None:
        self.answers = answers

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def query(self, text: str) -> list[Any]:
        return self.answers[text]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(port_forward, "prometheus_url", lambda lab: "http://localhost:1")
    return open_lab()


def answers(monkeypatch: pytest.MonkeyPatch, found: dict[str, list[Any]]) -> None:
    monkeypatch.setattr(query, "Client", lambda url: FakeClient(found))


SUM = 'sum by (pod_namespace) (pod_curr_energy_in_pkg_millijoule{pod_namespace="flux-system"})'


def test_the_talks_namespace_sum(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The value is the second of the pair; the first is a time."""
    answers(monkeypatch, {SUM: [{"metric": {"pod_namespace": "flux-system"}, "value": [1664037900.094, "394.5"]}]})
    rows = json.loads(query.query(lab, "namespace-sum", as_json=True))
    assert rows == [{"pod_namespace": "flux-system", "value": 394.5, "unit": "mJ per 3 s"}]
    assert re.search(r"flux-system +│ 394\.5", query.query(lab, "namespace-sum"))


def test_any_promql(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"up": [{"metric": {"__name__": "up", "job": "meter"}, "value": [1, "1"]}]})
    assert json.loads(query.query(lab, "up", as_json=True)) == [{"job": "meter", "value": 1.0}]


@pytest.mark.parametrize(
    ("text", "last", "namespace", "error"),
    [
        ("pod-pakage", "", "flux-system", "no answer.*did you mean pod-package"),
        ("up", "1h", "flux-system", "--last gives joules for a query by name"),
        ("node", "1 hour", "flux-system", "not a duration"),
        ("node", "0s", "flux-system", "not a duration"),
        ("dram", "", "flux-system", "no node of this lab has a dram zone"),
        ("dram", "", 'x"} or up{', "not the name of a namespace"),
    ],
)
def test_mistakes_end_in_a_hint(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, text: str, last: str, namespace: str, error: str
) -> None:
    dram = 'pod_curr_energy_in_dram_millijoule{pod_namespace="flux-system"}'
    answers(monkeypatch, {"pod-pakage": [], dram: []})
    with pytest.raises((LabError, SettingsError), match=f"(?s){error}"):
        query.query(lab, text, last=last, namespace=namespace)


def test_many_values_are_not_a_table(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"up[1m]": [{"metric": {}, "values": [[1, "1"]]}]})
    with pytest.raises(LabError, match="one value for each series"):
        query.query(lab, "up[1m]")


def test_a_histogram_is_not_a_table(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, {"took": [{"metric": {}, "histogram": [1, {"count": "3", "sum": "6"}]}]})
    with pytest.raises(LabError, match="one value for each series: this query gives histograms"):
        query.query(lab, "took")


@pytest.mark.parametrize(
    ("text", "answer", "value"),
    [
        ("1", [1664037900.094, "1"], 1.0),
        ("time()", [1664037900.094, "1664037900.094"], 1664037900.094),
        ('"a word"', [1664037900.094, "a word"], "a word"),
        ('"[bold]"', [1664037900.094, "[bold]"], "[bold]"),
        ('""', [1664037900.094, ""], ""),
        ("0/0", [1664037900.094, "NaN"], "NaN"),
        ("up/0", [{"metric": {}, "value": [1, "+Inf"]}], "+Inf"),
    ],
)
def test_a_scalar_and_a_string_are_one_row_without_labels(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, text: str, answer: list[Any], value: object
) -> None:
    answers(monkeypatch, {text: answer})
    printed = query.query(lab, text, as_json=True)
    assert json.loads(printed, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) == [{"value": value}]
    shown = f"{value:.6g}" if isinstance(value, float) else value
    assert f"│ {shown}" in query.query(lab, text)


def rows() -> list[Energy]:
    def figure(value: float) -> Figure:
        return Figure(value, "J", "RAPL, package", value * 0.9, value * 1.1)

    return [
        Energy("n", "", "", figure(100), figure(10)),
        Energy("n", "flux-system", "a", figure(6), figure(0.6)),
        Energy("n", "flux-system", "b", figure(4), figure(0.4)),
        Energy("n", "monitoring", "c", figure(20), figure(2)),
    ]


@pytest.mark.parametrize(
    ("grouping", "namespace", "expected"),
    [
        ("pod", "flux-system", [6, 4]),
        ("pod", "all", [6, 4, 20]),
        ("namespace", "all", [10, 20]),
        ("all", "all", [30]),
        ("node", "flux-system", [100]),
        ("pod", "default", []),
    ],
)
def test_joules_add_up(grouping: str, namespace: str, expected: list[float]) -> None:
    found = query.grouped(rows(), grouping, namespace)
    assert [row["joules"] for row in found] == expected
    assert all(row["low"] < row["joules"] < row["high"] for row in found)
