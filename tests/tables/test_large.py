"""A million rows and 20,000 pairs, by processor time, which other work on the machine does not stretch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.long
@pytest.mark.parametrize("words", [[], ["--pairs", "20000"]])
def test_a_large_table_takes_twenty_seconds_and_a_gigabyte_at_most(words: list[str]) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "tables.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    theirs, ours = (json.loads(line) for line in done.stdout.splitlines())
    assert ours["cpu_seconds"] < 20
    assert ours["peak_mib"] < 1024
    assert ours["answer"][:2] == pytest.approx(theirs["answer"][:2], rel=1e-6)
    # Decimal ties are ties here, and told apart by the last bits of floats there.
    assert ours["answer"][2] == pytest.approx(theirs["answer"][2], rel=1e-4)
