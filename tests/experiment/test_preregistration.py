"""Plans as text, and what a machine can detect."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from scipy import stats

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.experiment import study_texts
from hardwatt.experiment.plan import preregistration
from hardwatt.experiment.plan.qualification import FILE, Noise, Qualification, Recovered, blocks_for, load, save
from hardwatt.experiment.plan.run_table import make_plan, stored_plan
from hardwatt.experiment.plan.sample_size import detectable, needed, sd_upper
from hardwatt.experiment.plan.study_model import Margin, Study, override

GOOD = Qualification(
    at="2027-01-15T08:00:00+00:00", study="control-aa", outcome="node_cpu_seconds", window_seconds=45.0, commits=3,
    pairs=12, pair_seconds=180.0, hours=2.0, source="modelled",
    noise={"node_cpu_seconds": Noise(0.2, 0.25, 0.01, -0.1, 0.12)},
    positive=Recovered(6.0, 5.9, 5.7, 6.1), bundles={"a/a": "x", "positive": "y"}, warnings=("smt: on",),
    versions={"kubernetes": "v1.36.3"},
)  # fmt: skip


def test_the_upper_bound_holds_the_true_spread_in_four_of_five_series() -> None:
    rng = stats.norm(0, 2.0)
    bounds = [sd_upper(list(rng.rvs(8, random_state=seed))) for seed in range(2000)]
    assert sum(bound > 2.0 for bound in bounds) / 2000 == pytest.approx(0.80, abs=0.03)
    with pytest.raises(LabError, match="two pairs"):
        sd_upper([1.0])


def test_the_detectable_effect_is_the_planning_formulas_and_pairs_needed_agree_with_it() -> None:
    factor = stats.t.ppf(0.975, 29) + stats.t.ppf(0.8, 29)
    assert detectable(2.0, 30) == pytest.approx(factor * 2.0 / 30**0.5)
    assert detectable(2.0, 5) is None
    pairs = needed(2.0, 1.0)
    assert (detectable(2.0, pairs) or 9) <= 1.02
    assert needed(0.001, 1.0) == 6


def test_a_qualified_machine_has_a_sentence_to_cite() -> None:
    per_window = detectable(0.25, 40)
    assert per_window is not None
    assert GOOD.sentence.startswith(
        f"This machine detects at least {1000 * per_window / 3:.3g} CPU-ms per deployment in 2 hours (40 pairs"
    )
    assert GOOD.problems == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"positive": Recovered(6.0, 4.0, 3.8, 4.2)}, "a known 6 CPU-s were measured as 4"),
        ({"positive": Recovered(6.0, 4.0, -1.0, 9.0)}, "a known 6 CPU-s"),
        ({"noise": {"node_cpu_seconds": Noise(0.2, 0.25, 0.4, 0.3, 0.5)}}, "two arms that are the same differ by 0.4"),
        ({"noise": {"node_cpu_seconds": Noise(40, 50.0, 0, -20, 20)}}, "stays unseen"),
        ({"hours": 0.1}, "only 2 pairs fit into 0.1 h"),
    ],
)
def test_a_machine_that_is_not_fit_says_not_here_and_why(change: dict[str, object], says: str) -> None:
    found = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]
    assert found.sentence.startswith("Not here: ")
    assert says in found.sentence


def test_a_qualification_is_stored_in_the_labs_folder(lab: Lab) -> None:
    assert load(lab) is None
    save(lab, GOOD)
    assert load(lab) == GOOD


def test_the_keys_of_a_stored_qualification_stay(lab: Lab) -> None:
    """``found`` is the key of what the positive control measured, in files of older versions too."""
    save(lab, GOOD)
    stored = json.loads((lab.dir / FILE).read_text())
    assert stored["positive"] == {"known": 6.0, "found": 5.9, "low": 5.7, "high": 6.1}


def test_noise_grows_with_the_root_of_the_window(study: Study) -> None:
    longer = override(study, {"estimand.window_seconds": 180.0}, "test")
    assert GOOD.sd_for(study) == pytest.approx(0.25)
    assert GOOD.sd_for(longer) == pytest.approx(0.5)


def test_a_target_needs_a_qualified_machine_and_becomes_a_number(study: Study) -> None:
    aims = override(study, {"design.full_pairs": None, "design.target": 0.1}, "test")
    with pytest.raises(LabError, match="was not qualified") as error:
        blocks_for(aims, None)
    assert "experiment.qualify" in error.value.hint
    assert blocks_for(aims, GOOD) == needed(0.25, 0.1)
    assert blocks_for(override(aims, {"design.order": "abba"}, "test"), GOOD) % 2 == 0


def test_a_plan_says_how_long_it_takes_and_what_it_can_see(study: Study) -> None:
    few, many = make_plan(study, seed=3), make_plan(study, seed=3, pairs=20)
    assert any("below 6 pairs there is no test" in line for line in preregistration.printed(few, GOOD))
    assert any("not qualified" in line for line in preregistration.printed(many, None))
    effect = detectable(0.25, 20)
    assert any(f"{effect:.3g} CPU-s in a window" in line for line in preregistration.printed(many, GOOD))
    assert sum(line.strip().startswith("p0") for line in preregistration.printed(many, GOOD)) == 40


def test_the_preregistration_holds_all_that_was_decided(lab: Lab, study: Study, tmp_path: Path) -> None:
    margin = Margin(value=50, unit="CPU-ms per deployment", because="Less is lost in a rollout.", plausible=900.0)
    primary = study.primary.model_copy(update={"margin": margin})
    full = study.model_copy(update={"primary": primary})
    plan = make_plan(full, seed=3, pairs=20, code={"experiments/arms/push.py": "ab"})
    text = study_texts.export(plan, GOOD, tmp_path / "plan.md").read_text()
    for part in (
        plan.sha256, "seed 3", study.question, *study.estimand.arms.values(), study.estimand.done,
        "±50 CPU-ms per deployment", "900", "Less is lost in a rollout.", "a container of the cluster restarted",
        "20 pairs (40 runs)", GOOD.sentence, "`experiments/arms/push.py`: SHA-256 `ab`",
        *(row.run_id for row in plan.rows),
    ):  # fmt: skip
        assert part in text, part
    assert study_texts.export(plan, GOOD, tmp_path / "again.md").read_text() == text


def test_studies_are_listed_and_shown_and_a_broken_one_hides_no_other(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "checkout/experiments/studies"
    for part in ("arms", "workloads"):
        shutil.copytree(ROOT / "experiments" / part, folder.parent / part)
    folder.mkdir(parents=True)
    (folder / "push-vs-pull.toml").write_text((Path(__file__).parent / "base.toml").read_text())
    (folder / "broken.toml").write_text("quetsion = 1")
    here = Lab(lab.settings, tmp_path / "checkout", lab.dir)
    listed = study_texts.listed(here)
    assert "cannot be read" in listed["broken"]
    assert "Push by a CI job against pull by Flux (push, pull; quick" in listed["push-vs-pull"]
    assert any("push (baseline)" in line for line in study_texts.show(here, "push-vs-pull"))


def test_a_plan_comes_back_from_its_bundle(study: Study) -> None:
    plan = make_plan(study, seed=3, pairs=4, code={"a": "b"})
    assert stored_plan(plan.to_dict()) == plan
    other = {**plan.to_dict(), "estimated_seconds": 1.0}
    with pytest.raises(RefusedError, match="plans otherwise"):
        stored_plan(other)
