"""Facts from recorded or constructed output; the cases are the folders ``facts/MODULE.Fact``.

A case may write ``command: CMD``: the scripts themselves are run for real in test_scripts.py.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pyinfra_testing.facts import make_fact_tests

FOLDER = Path(__file__).parent / "facts"


@pytest.mark.parametrize("case", sorted(FOLDER.glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_fact(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # no fact of ours asks the clock, and freezing it walks through every module of this process
    monkeypatch.setattr("pyinfra_testing.facts.freeze_time", lambda date: lambda function: function)
    data: dict[str, Any] = yaml.safe_load(case.read_text())
    path = case.parent.name
    if data["command"] == "CMD":
        module, name = path.split(".")
        fact = getattr(__import__(f"deploys.facts.{module}", fromlist=[name]), name)()
        data["command"] = fact.command(**data.get("arg", {}))
        assert data["command"].startswith(": facts.")
    (tmp_path / case.name).write_text(yaml.safe_dump(data))
    made = make_fact_tests("deploys.facts", path, tmp_path)
    names = [name for name in dir(made) if name.startswith("test_")]
    made.setUpClass()
    for name in names:
        getattr(made(name), name)()
    assert len(names) == 1


def test_every_fact_has_a_case() -> None:
    modules = Path("deploys/facts").glob("[a-z]*.py")
    facts = {
        f"{path.stem}.{line.split('(')[0].split()[1]}"
        for path in modules
        for line in path.read_text().splitlines()
        if line.startswith("class ") and "FactBase" in line
    }
    assert facts == {folder.name for folder in FOLDER.iterdir()}
