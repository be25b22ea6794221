"""One class of problems and one vocabulary of severities, on both sides of pyinfra's process."""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from deploys import compatibility, preflight
from deploys import problem as on_the_node
from hardwatt.core import problem
from hardwatt.core.errors import VerifyError
from hardwatt.core.problem import Problem

SWAP = {"severity": "warning", "name": "swap", "what": "swap is on", "remedy": "swapoff --all"}


def test_the_deploys_have_the_same_fields_and_severities() -> None:
    assert on_the_node.SEVERITIES == problem.SEVERITIES
    here, there = ([field.name for field in dataclasses.fields(kind)] for kind in (Problem, on_the_node.Problem))
    assert here == there


@pytest.mark.parametrize("severity", on_the_node.SEVERITIES)
def test_what_the_preflight_writes_is_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, severity: on_the_node.Severity
) -> None:
    report = tmp_path / "problems.json"
    monkeypatch.setenv(preflight.REPORT, str(report))
    preflight._write([on_the_node.Problem(severity, "swap", "swap is on", "swapoff --all")])
    [read] = [Problem.from_dict(row) for row in json.loads(report.read_text())]
    assert read == Problem(severity, "swap", "swap is on", "swapoff --all")
    assert read.to_dict() == {**SWAP, "severity": severity}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**SWAP, "severity": "fatal"}, "unknown severity 'fatal': it is one of error, warning, note"),
        ({**SWAP, "severity": "Error"}, "unknown severity 'Error'"),
        ({**SWAP, "more": "x"}, "has the keys severity, name, what, remedy"),
        ({key: value for key, value in SWAP.items() if key != "remedy"}, "has the keys"),
        ({**SWAP, "what": None}, "what of a problem is not text"),
        ({**SWAP, "severity": ["error"]}, "severity of a problem is not text"),
        (["error", "swap", "swap is on", "off"], "has the keys"),
    ],
)
def test_a_row_that_is_not_a_problem_is_refused(row: Any, reason: str) -> None:
    with pytest.raises(VerifyError, match=reason):
        Problem.from_dict(row)


def test_one_error_has_each_problem_and_each_remedy_once() -> None:
    found = [problem.error("a", "no root", "use a host"), problem.error("b", "no disk", "use a host")]
    error = problem.combined(found, "no machine fits: ")
    assert (error.message, error.hint) == ("no machine fits: no root; no disk", "use a host")


def test_the_compatibility_matrix_uses_the_same_severities() -> None:
    entries = tomllib.loads(compatibility.FILE.read_text())["kubernetes"].values()
    used = {entry[key] for entry in entries for key in ("kernel_other", "cgroup_v1")} - {"ok"}
    assert used
    assert used <= set(problem.SEVERITIES)
