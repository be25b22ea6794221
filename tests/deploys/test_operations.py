"""Operations as arguments and facts to commands; the cases are the folders ``operations/MODULE.name``."""

import itertools
from pathlib import Path

import pytest
from pyinfra_testing.operations import make_operation_tests

FOLDER = Path(__file__).parent / "operations"
OPERATIONS = sorted(folder.name for folder in FOLDER.iterdir())


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation(name: str) -> None:
    made = make_operation_tests("deploys.operations", name, FOLDER / name)
    made.setUpClass()
    cases = [case for case in dir(made) if case.startswith("test_")]
    for case in cases:
        getattr(made(case), case)()
    assert len(cases) == len(list((FOLDER / name).glob("*.yaml"))) > 1


def test_every_operation_has_cases() -> None:
    found = set()
    for path in Path("deploys/operations").glob("[a-z]*.py"):
        lines = path.read_text().splitlines()
        for before, line in itertools.pairwise(lines):
            if before.startswith("@operation("):
                found.add(f"{path.stem}.{line.split('(')[0].removeprefix('def ')}")
    assert found == set(OPERATIONS)
