"""The page of the API runs as it stands; results are what their schemas say; citation and licence are whole."""

from __future__ import annotations

import copy
import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hardwatt.analysis import Columns, TableRequest, analyse_table, contract
from hardwatt.analysis.comparison import side_by_side
from hardwatt.analysis.deviations import Deviations
from hardwatt.analysis.figures import text
from hardwatt.analysis.model import Results
from hardwatt.analysis.results import analyse, analysed
from hardwatt.bundle.model import Provenance, Run
from hardwatt.bundle.writer import Writer
from hardwatt.testing.synthetic_bundle import Truth

ROOT = Path(__file__).parents[2]
DATA = ROOT / "hardwatt" / "data"


def check(found: dict[str, Any], name: str) -> None:
    schema = json.loads((DATA / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(text(found)), schema, cls=jsonschema.Draft202012Validator)


def test_the_code_of_the_page_runs(
    three: Truth, eight: Truth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, truth in (("NAME", eight), ("OTHER", three)):
        shutil.copytree(truth.path, tmp_path / "results" / name, ignore=shutil.ignore_patterns("results"))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    assert len(blocks) >= 10
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "there is no bundle at results/NOTHING" in printed
    assert "less - The interval does not hold zero" in printed
    assert "gCO2e per deployment" in printed


def test_results_of_every_kind_are_as_their_schema_says(
    eight: Truth, three_results: dict[str, Any], eight_results: dict[str, Any]
) -> None:
    check(three_results, "results")
    check(eight_results, "results")
    check(analyse(eight.path, write=False, deviations=Deviations(outcome="node_joules", margin=50.0)), "results")
    check(side_by_side(["three", "eight", "again"], [three_results, eight_results, eight_results]), "compare")


def test_results_of_a_failed_experiment_are_as_the_schema_says(tmp_path: Path) -> None:
    rows = [{"run_id": f"p001-{arm}", "block": 1, "position": i, "arm": arm} for i, arm in enumerate(("push", "pull"))]
    primary = {"outcome": "node_cpu_seconds", "unit": "CPU-seconds", "estimator": "mean paired difference"}
    plan = {"study": "x", "seed": 3, "arms": ["push", "pull"], "window_seconds": 50, "primary": primary, "runs": rows}
    about = Provenance(seed=3, source="modelled", tool_version="1", git_sha="", dirty=False)
    writer = Writer.create(tmp_path / "bundle", plan, about)
    writer.add_run(Run("p001-push", 1, 1, "push", 0, "failed", "the gate did not open", 5, 5))
    writer.finish()
    check(analyse(tmp_path / "bundle", write=False), "results")


def test_results_of_a_table_are_as_their_schema_says(tmp_path: Path) -> None:
    lines = ["pair,arm,value,commits"]
    lines += [f"{b},{arm},{b * (k + 1) % 5 + k},{b}" for b in range(1, 9) for k, arm in enumerate("abc")]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    for columns in (Columns(), Columns(pair="pair")):
        check(analyse_table(tmp_path / "t.csv", TableRequest(columns)), "table")


@pytest.mark.parametrize("name", list(contract.KINDS))
def test_a_schema_file_is_what_the_types_give(name: str) -> None:
    file = DATA / f"{name}.schema.json"
    assert file.read_text() == contract.schema_text(name), "run: python -m hardwatt.analysis.contract"


@pytest.mark.parametrize("name", list(contract.KINDS))
def test_every_object_of_a_schema_is_closed(name: str) -> None:
    """Optional is only what is written where it is known; an object has named keys, or values of one type."""
    schema = contract.schema(name)
    sections = [schema, *schema["$defs"].values()]
    assert len(sections) > 4
    for section in sections:
        assert section["additionalProperties"] is False
        assert section["required"] == [key for key in section["properties"] if key not in contract.OPTIONAL]
        for field in section["properties"].values():
            if field.get("type") == "object":
                assert field["additionalProperties"] not in (True, {}), field


def test_typed_results_and_their_json_are_the_same(eight: Truth, eight_results: dict[str, Any]) -> None:
    typed = analysed(eight.path)
    assert contract.parse(Results, contract.as_json(typed)) == typed
    assert text(typed) == text(eight_results)
    assert text(contract.parse(Results, json.loads(text(typed)))) == text(typed)


def test_the_schema_refuses_a_bare_number(three_results: dict[str, Any]) -> None:
    found = copy.deepcopy(three_results)
    found["primary"]["estimate"] = 3.2
    with pytest.raises(jsonschema.ValidationError):
        check(found, "results")


def test_the_page_of_the_bundle_names_every_file_of_one(three: Truth) -> None:
    page = (ROOT / "docs" / "bundle.md").read_text()
    top = {path.name for path in three.path.iterdir() if path.name != "results"}
    assert [name for name in sorted(top) if name.split(".")[0] not in page] == []
    for schema in re.findall(r"`(hardwatt/[\w/]+\.schema\.json)`", page):
        assert (ROOT / schema).is_file(), schema


def test_edges_are_as_their_schema_says(three: Truth) -> None:
    schema = json.loads((ROOT / "hardwatt/bundle/edge.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    edges = [*three.path.glob("edges/*.json"), *(DATA / "shipped-bundle" / "edges").glob("*.json")]
    assert len(edges) >= 24
    for edge in edges:
        jsonschema.validate(json.loads(edge.read_text()), schema, cls=jsonschema.Draft202012Validator)


def test_a_bundle_says_what_it_is(three: Truth) -> None:
    said = (three.path / "README.md").read_text()
    kinds = {path.name.split(".")[0] for path in three.path.iterdir()} - {"README", "results"}
    assert [kind for kind in sorted(kinds) if f"`{kind}" not in said] == []


def test_citation_and_data_licence_are_whole() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert (str(citation["version"]), citation["license"]) == (project["version"], project["license"])
    licence = (ROOT / "DATA-LICENSE").read_text()
    assert "CC0 1.0 Universal" in licence and "Public License Fallback" in licence
