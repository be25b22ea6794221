"""Controllers at rest beside the talk's table: means of known windows, and the published milliwatts as they were."""

from pathlib import Path

import pytest

from hardwatt.analysis import talk_comparison
from hardwatt.analysis.figures import known
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError
from hardwatt.report.pages import beside_the_talk
from hardwatt.testing.synthetic_bundle import Spec, make_bundle


def test_the_nodes_difference_by_second_and_the_talks_table_stand_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = make_bundle(tmp_path / "bundle", Spec(pairs=3, window_seconds=60))
    bundle = Bundle.open(truth.path)
    monkeypatch.setattr(talk_comparison, "STUDY", bundle.plan.study)
    rows = talk_comparison.beside_the_talk(truth.path)
    text = beside_the_talk(truth.path)
    first, second = bundle.plan.arms[:2]
    by_arm = {
        arm: [truth.values[run.run_id]["node_cpu_seconds"] / run.seconds for run in bundle.runs if run.arm == arm]
        for arm in (first, second)
    }
    expected = 1000 * (sum(by_arm[second]) - sum(by_arm[first])) / 3
    row = next(row for row in rows if "less without, node_cpu_seconds" in row.what)
    assert row.figure.unit == "CPU-ms per s"
    assert known(row.figure) == pytest.approx(expected, abs=0.5)
    assert f"| {row.what} | {row.figure.value:.2f} | CPU-ms per s | {row.figure.source} |\n" in text
    assert "two controllers" in text
    assert "| talk: 4 controllers, package | 122.33 | mW | RAPL by Kepler, one instant, 207069670ef8 |" in text
    assert "| talk: 4 controllers, dram | 35.00 | mW |" in text


def test_a_bundle_of_another_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="is of the study") as error:
        talk_comparison.beside_the_talk(make_bundle(tmp_path / "bundle").path)
    assert "experiment.run talk-at-rest" in error.value.hint
