"""The counter's own error: common to all windows, so it scales a difference and is no noise."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from hardwatt.analysis import contract
from hardwatt.analysis.figures import figure, text
from hardwatt.analysis.model import Results
from hardwatt.analysis.results import analysed
from hardwatt.bundle.model import Provenance, Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.core.errors import VerifyError
from hardwatt.meter.accuracy import RAPL, Accuracy, published
from hardwatt.meter.zones import Zone
from hardwatt.report.bundle_paper import contrasts_csv
from hardwatt.report.render import html, markdown
from hardwatt.testing.recorded_node import T0_NS, RecordedNode

PAIRS, SECONDS, WATTS, MORE = 8, 20, 40.0, 1.5
"""True energy: 40 W in each window, 1.5 W more in those of push, and some scatter."""
ENTRIES = {"rapl": "intel-rapl:0", "modelled": "synthetic-model:0"}


def results(folder: Path, scale: float = 1.0, offset: float = 0.0, source: str = "rapl") -> Results:
    """Analyse a recording whose counter shows *scale* times the true energy, and *offset* watts more."""
    folder.mkdir()
    node, rng = RecordedNode(folder / "recording"), np.random.default_rng(7)
    zone = ("energy", ENTRIES[source])
    node.more[zone] = {"zone": "package-0", "wraps_at": 262_143_328_850}
    starts = [10 + (SECONDS + 5) * number for number in range(2 * PAIRS)]
    arms = ["push" if number % 4 in (0, 3) else "pull" for number in range(2 * PAIRS)]
    scatter = rng.normal(0, 0.3, 2 * PAIRS)
    value = 0.0
    for second in range(starts[-1] + SECONDS + 10):
        number = next((n for n, start in enumerate(starts) if start <= second < start + SECONDS), None)
        watts = WATTS if number is None else WATTS + scatter[number] + (MORE if arms[number] == "push" else 0.0)
        node.values["node", "node"] += 250_000_000
        value += scale * watts + offset
        node.values[zone] = round(value * 1e6)
        node.tick()
    base = T0_NS // 1_000_000 + 5000
    runs = [
        Run(f"r{n:02}", n // 2, n % 2, arm, 0, "done", "", base + start * 1000, base + (start + SECONDS) * 1000)
        for n, (start, arm) in enumerate(zip(starts, arms, strict=True))
    ]
    plan = {
        "study": "scale", "seed": 1, "arms": ["pull", "push"], "window_seconds": SECONDS,
        "primary": {"outcome": "node_joules", "unit": "J", "estimator": "mean paired difference"},
        "runs": [{"run_id": r.run_id, "block": r.block, "position": r.position, "arm": r.arm} for r in runs],
    }  # fmt: skip
    writer = Writer.create(folder / "b", plan, Provenance(1, source, "t", "", False, host={"cpus": 2}))  # type: ignore[arg-type]
    for run in runs:
        writer.add_recording(run.run_id, (folder / "recording").read_bytes())
        writer.add_run(run)
    writer.finish()
    return analysed(Bundle.open(folder / "b").path)


@pytest.mark.parametrize("error", [-RAPL.share, -0.3, 0.0, 0.05, RAPL.share])
def test_a_planted_error_of_scale_is_inside_the_systematic_part(error: float, tmp_path: Path) -> None:
    right, wrong = results(tmp_path / "right"), results(tmp_path / "wrong", 1 + error)
    for name in ("estimate", "detectable"):
        true, off = getattr(right.primary, name), getattr(wrong.primary, name)
        assert off.value == pytest.approx((1 + error) * true.value, rel=1e-3)
        assert off.systematic is not None
        assert off.systematic.low - 1e-3 <= true.value <= off.systematic.high + 1e-3
    for true_pair, pair in zip(right.pairs, wrong.pairs, strict=True):
        for true, off in ((true_pair.difference, pair.difference), (true_pair.values["push"], pair.values["push"])):
            assert true.value is not None and off.systematic is not None
            assert off.systematic.low - 1e-3 <= true.value <= off.systematic.high + 1e-3


def test_an_error_of_scale_is_no_noise(tmp_path: Path) -> None:
    """The relative difference and the width of the interval to the difference stay: only the unit is another."""
    right, wrong = results(tmp_path / "right"), results(tmp_path / "wrong", 1.5)
    assert wrong.primary.relative.value == pytest.approx(right.primary.relative.value, rel=1e-3)
    assert wrong.primary.relative.systematic is None
    widths = [
        (each.primary.estimate.high - each.primary.estimate.low) / each.primary.estimate.value  # type: ignore[operator]
        for each in (right, wrong)
    ]
    assert widths[1] == pytest.approx(widths[0], rel=1e-3)
    assert right.verdict.word == wrong.verdict.word == "more"


def test_the_systematic_part_of_a_difference_is_that_of_the_difference_not_of_the_arms(tmp_path: Path) -> None:
    found = results(tmp_path / "r")
    estimate, arm = found.primary.estimate, found.primary.arms["push"]
    assert estimate.systematic is not None and arm.systematic is not None
    assert estimate.value == pytest.approx(MORE * SECONDS, abs=10)
    assert estimate.systematic.high - estimate.systematic.low < 5 * estimate.value  # type: ignore[operator]
    assert arm.systematic.high - arm.systematic.low > 20 * estimate.value  # type: ignore[operator]


def test_a_constant_offset_cancels_in_a_difference(tmp_path: Path) -> None:
    right, wrong = results(tmp_path / "right"), results(tmp_path / "wrong", offset=12.0)
    assert wrong.primary.estimate.value == pytest.approx(right.primary.estimate.value, abs=1e-3)


def test_modelled_joules_and_cpu_seconds_have_no_published_accuracy(tmp_path: Path) -> None:
    found = results(tmp_path / "r", source="modelled")
    assert found.primary.estimate.systematic is None
    assert found.source.accuracy is None
    assert "systematic" not in text(found)
    assert "error of the counter itself" not in markdown(found) + html(found)
    assert figure(3.0, "CPU-seconds", "s").systematic is None


def test_every_reader_shows_the_number_and_its_source(tmp_path: Path) -> None:
    found = results(tmp_path / "r")
    estimate = found.primary.estimate
    assert estimate.systematic is not None
    stored = json.loads(text(found))
    assert stored["primary"]["estimate"]["systematic"]["low"] == pytest.approx(estimate.systematic.low)
    assert stored["source"]["accuracy"]["value"] == 100 * RAPL.share
    assert contract.parse(Results, stored).primary.estimate.systematic is not None
    (row,) = [row for row in csv.DictReader(io.StringIO(contrasts_csv(found))) if row["kind"] == "primary"]
    assert float(row["difference_systematic_low"]) == pytest.approx(estimate.systematic.low)
    assert float(row["difference_systematic_high"]) == pytest.approx(estimate.systematic.high)
    for page in (markdown(found), html(found)):
        assert "error of the counter itself" in page
        assert "doi:10.3390/en12112204" in page
        assert f"{estimate.systematic.low:.0f}" in page


def test_a_negative_difference_has_its_ends_in_order() -> None:
    scaled = figure(-10.0, "J", "s", share=0.25).systematic
    assert scaled is not None
    assert [scaled.low, scaled.high] == pytest.approx([-10 / 0.75, -8.0])


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_an_impossible_accuracy_is_refused(share: float) -> None:
    with pytest.raises(VerifyError, match="share from 0 to below 1"):
        Accuracy(share, "somewhere")


def test_only_counters_of_the_processor_have_one() -> None:
    assert published(Zone("package-0", "intel-rapl:0")) is RAPL
    assert published(Zone("package-0", "synthetic-model:0")) is None
    assert published(Zone("cpu0-cpufreq", "dtpm:0")) is None
