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
    part = bundle.manifest.power_model["cpus"] / 16  # energy and making are of the same threads
    embodied = seconds * 550_000 / (4 * 365 * 86400) * part
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
    values = [getattr(given, name) for name in type(given).model_fields if name != "share"]
    assert all(value.source for value in values)
    assert given.share is None


def test_energy_and_making_have_one_boundary() -> None:
    given = sci.settings()
    assert given.share_of(2).value == 2 / 16
    assert given.share_of(None).value == 1.0
    assert given.share_of(32).value == 1.0
    own = given.model_copy(update={"share": given.pue.model_copy(update={"value": 0.5})})
    assert own.share_of(2).value == 0.5


def test_the_figure_names_its_largest_part(three_results: dict[str, Any], three: Truth, tmp_path: Path) -> None:
    assert "The largest part of the reserved figure is the energy of " in three_results["sci"]["says"]
    text = sci.DEFAULT.read_text().replace("value = 550", "value = 55000").replace("high = 1100", "high = 110000")
    (tmp_path / "heavy.toml").write_text(text)
    heavy = analyse(three.path, write=False, carbon=tmp_path / "heavy.toml")["sci"]
    assert "is the machine's making, which is assumed and not measured: 9" in heavy["says"]
    own = three_results["sci"]["rows"][0]["reserved"]["pull"]
    assert own["high"] - own["low"] > 0.01 * own["value"]  # assumptions have bounds too


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('unit = "years"', 'unit = "months"', "lifespan is in years"),
        ("value = 445", "value = -1", "intensity.value"),
        ("[pue]", "[pu]", "pue"),
        ("value = 4\nlow = 3\n", "value = 0\nlow = 0\n", "lifespan is above zero"),
        ("[threads]", "[thread]", "thread"),
        ("value = 16\n", "value = 0\n", "one thread or more"),
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
