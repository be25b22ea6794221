"""SCI: the published check value, intervals, both kinds of energy, and a settings file that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardwatt.analysis import sci
from hardwatt.analysis.results import analyse
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.testing.synthetic_bundle import Truth


def test_embodied_carbon_of_a_quarter_of_an_hour_is_the_published_value() -> None:
    """CNCF Green Reviews: 550 kg, 15 minutes of four years, the whole m3.small.x86: 3.92 g."""
    assert sci.embodied_grams(550, 15 * 60, 4) == pytest.approx(3.92, abs=0.005)
    with pytest.raises(LabError):
        sci.embodied_grams(550, 900, 0)


def test_a_kilowatt_hour_of_the_world_grid() -> None:
    assert sci.operational_grams(3.6e6, 445) == 445
    assert sci.operational_grams(3.6e6, 445, pue=1.2) == pytest.approx(534)


def test_sci_of_a_bundle_follows_from_its_joules_by_hand(three: Truth, three_results: dict[str, Any]) -> None:
    found = three_results["sci"]
    bundle = Bundle.open(three.path)
    runs = [run for run in bundle.runs if run.arm == "pull"]
    joules = np.array([three.values[run.run_id]["node_joules"] for run in runs])
    seconds = np.array([run.seconds for run in runs])
    embodied = seconds * 550_000 / (4 * 365 * 86400)
    grams = (joules / 3.6e6 * 445 + embodied) / 3
    rows = {row["per"]: row for row in found["rows"]}
    assert set(rows) == {"deployment", "application-hour"}
    mine = rows["deployment"]["reserved"]["pull"]
    assert mine["value"] == pytest.approx(grams.mean(), rel=1e-3)
    assert mine["unit"] == "gCO2e per deployment"
    assert mine["low"] < mine["value"] < mine["high"]
    marginal = rows["deployment"]["marginal"]["pull"]
    assert marginal["value"] == pytest.approx(((joules - 10 * seconds) / 3.6e6 * 445 / 3).mean(), rel=0.02)
    # In the difference the machine and its floor cancel: joules alone are left.
    change = rows["application-hour"]["difference"]["value"]
    results = three_results["joules"]["difference"]["value"]
    assert change == pytest.approx(results / 3.6e6 * 445 / (seconds.mean() / 3600), rel=1e-6)
    assert "no evidence" in found["says"]


def test_bounds_of_the_settings_widen_the_interval(three: Truth, three_results: dict[str, Any], tmp_path: Path) -> None:
    text = sci.DEFAULT.read_text().replace("value = 445", "value = 445\nlow = 30\nhigh = 900")
    (tmp_path / "mine.toml").write_text(text)
    plain = three_results["sci"]["rows"][0]["reserved"]["push"]
    wide = analyse(three.path, write=False, carbon=tmp_path / "mine.toml")["sci"]
    one = wide["rows"][0]["reserved"]["push"]
    assert one["value"] == plain["value"]
    assert one["low"] < plain["low"] and one["high"] > plain["high"]
    assert wide["settings"]["intensity"]["high"] == 900


def test_every_value_of_the_shipped_settings_has_a_source() -> None:
    given = sci.settings()
    assert given.embodied.value == 550
    assert all(getattr(given, name).source for name in type(given).model_fields)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('unit = "years"', 'unit = "months"', "lifespan is in years"),
        ("value = 445", "value = -1", "intensity.value"),
        ("[pue]", "[pu]", "pue"),
        ("value = 4\n", "value = 0\n", "lifespan is above zero"),
        ("value = 445", "value = 445\nlow = 500", "in this order"),
        ("[intensity]", "[intensity", "not valid TOML"),
    ],
)
def test_a_wrong_settings_file_is_refused_with_its_key(old: str, new: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(sci.DEFAULT.read_text().replace(old, new))
    with pytest.raises(SettingsError, match=says):
        sci.settings(tmp_path / "wrong.toml")
    with pytest.raises(SettingsError, match="no settings file"):
        sci.settings(tmp_path / "nothing.toml")
