"""A bundle that commit 800bb92 wrote is verified, reported, analysed and compared as it was there."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from hardwatt.analysis import table
from hardwatt.analysis.carry_over import NAME as GATES
from hardwatt.analysis.comparison import side_by_side
from hardwatt.analysis.context import FIT
from hardwatt.analysis.figures import text
from hardwatt.bundle.manifest import plan_sha256
from hardwatt.bundle.reader import Bundle
from hardwatt.cli import console
from hardwatt.core.files import read_json
from tests.compatibility.support import MADE

STORED = {
    "report": MADE / "results-of-the-shipped-bundle.json",
    "analyse": MADE / "results-of-another-analysis.json",
}
ADDED_TO_STUDY = ("protocol_sha256", "session")
"""Keys that results have had since then; an old bundle has nothing to put there."""
NARROWER = ("check.edge_error", "check.node_cpu_seconds_by_samples")
"""Cross-checks whose limits follow from the margin and the pace by now."""
ONE_MACHINE = (
    "One machine and one cluster of one node: another processor, more nodes or a busier cluster can give another "
    "answer."
)
"""The limit that says by now that a bundle is one session."""


def assert_same(today: Any, stored: Any, where: str = "results.json") -> None:
    """Assert that keys, their order, texts and counts are equal, and other numbers up to the last bits of a float."""
    if isinstance(stored, dict):
        assert list(today) == list(stored), where
        for key in stored:
            assert_same(today[key], stored[key], f"{where}: {key}")
    elif isinstance(stored, list):
        assert len(today) == len(stored), where
        for place, pair in enumerate(zip(today, stored, strict=True)):
            assert_same(*pair, f"{where}[{place}]")
    elif isinstance(stored, float) and not isinstance(today, bool | str | None):
        assert math.isclose(today, stored, rel_tol=1e-9, abs_tol=1e-12), f"{where}: {today}, not {stored}"
    else:
        assert (type(today), today) == (type(stored), stored), where


@pytest.mark.parametrize(
    ("command", "options"),
    [("report", ()), ("analyse", ("--outcome", "node_joules", "--confidence", "0.9"))],
)
def test_results_are_those_of_800bb92(
    tmp_path: Path, command: str, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what changed on purpose: figures are for the planned length, two limits are other, a check is new.

    Words and intervals of what is not judged, SCI's boundary and the level at the gates have tests of their own.
    """
    monkeypatch.setattr(table, "for_length", lambda measured, _runs, _seconds: measured)
    monkeypatch.setattr(table.Table, "seconds", lambda _table, run: run.seconds)
    assert console.main([command, str(console.SHIPPED), *options, "--output", str(tmp_path)]) == 0
    today, stored = read_json(tmp_path / "results.json"), read_json(STORED[command])
    assert [today["study"].pop(key) for key in ADDED_TO_STUDY] == [None, None]
    assert today.pop("factorial") is None  # a section of today
    (place,) = (number for number, limit in enumerate(stored["limits"]) if limit["says"] == ONE_MACHINE)
    assert today["limits"][place]["says"].startswith("One session: this cluster, this hour.")
    today["limits"][place]["says"] = ONE_MACHINE
    assert today["checks"].pop(0) == {"name": FIT, "status": "ok", "detail": ""}
    for row, before in zip(today["crosschecks"], stored["crosschecks"], strict=True):
        if row["name"] in NARROWER:
            row["asked"] = before["asked"]
    gates = today.pop("carry_over")
    today["checks"] = [row for row in today["checks"] if row["name"] != GATES]
    assert gates is None or gates["arms"].keys() == {"push", "pull"}
    for section in ("namespaces", "totals", "secondaries", "units", "kepler"):
        for row, before in zip(today[section], stored[section], strict=True):
            assert row["difference"]["low"] is None  # below six pairs, or not tested
            row["difference"] |= {key: before["difference"][key] for key in ("low", "high")}
    for section in ("verdict", "sci"):
        today[section] = stored[section]
    assert today["primary"]["detectable"]["value"] is None
    today["primary"]["detectable"] = stored["primary"]["detectable"]
    assert_same(today, stored)


def test_a_difference_is_found() -> None:
    stored = read_json(STORED["report"])
    for change in ({"schema": 0}, {"n": "3"}, {"another": 1}):
        with pytest.raises(AssertionError):
            assert_same({**stored, **change}, stored)
    lacking = {key: value for key, value in stored.items() if key != "verdict"}
    with pytest.raises(AssertionError):
        assert_same(lacking, stored)
    moved = json.loads(json.dumps(stored), parse_float=lambda text: float(text) * (1 + 1e-8))
    with pytest.raises(AssertionError):
        assert_same(moved, stored)


def test_an_old_bundle_verifies_and_its_plan_keeps_its_hash() -> None:
    bundle = Bundle.open(console.SHIPPED)
    bundle.verify()
    assert plan_sha256(read_json(console.SHIPPED / "plan.json")) == bundle.manifest.plan_sha256


def test_old_bundles_stand_side_by_side() -> None:
    stored = read_json(STORED["report"])
    today = json.loads(text(side_by_side(["one", "two"], [stored, stored])))
    assert_same(today, read_json(MADE / "comparison.json"))
