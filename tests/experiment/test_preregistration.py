"""Plans as text, and what a machine can detect."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from scipy import stats

from hardwatt.config.lab import Lab
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.experiment import study_texts
from hardwatt.experiment.plan import preregistration
from hardwatt.experiment.plan.machine_noise import Rung, SameTwice
from hardwatt.experiment.plan.noise_curve import NoiseCurve, NoiseRow
from hardwatt.experiment.plan.planned_noise import noise_of
from hardwatt.experiment.plan.qualification import Attempt, Qualification, load, save
from hardwatt.experiment.plan.run_table import make_plan, stored_plan
from hardwatt.experiment.plan.sample_size import detectable, needed, sd_upper
from hardwatt.experiment.plan.study_model import Margin, Study, override


def curve(*rows: tuple[float, str, float]) -> NoiseCurve:
    return NoiseCurve("2027-01-15T08:00:00+00:00", tuple(NoiseRow(length, arm, 20, sd) for length, arm, sd in rows))


GOOD = Qualification(
    at="2027-01-15T08:00:00+00:00", source="modelled", minutes=45.0, pairs={"noise": 3, "ladder": 1},
    curve=curve((30, "push", 4.0), (30, "pull", 4.0), (300, "push", 2.0), (300, "pull", 2.0)),
    same=(SameTwice("push", "node_cpu_seconds", 30.0, 15, 0.01, -0.05, 0.07, 0.12, 0.15),),
    ladder=(
        Rung("node_cpu_seconds", 0.3, 0.3, 0.2, -0.1, 0.5, 4), Rung("node_cpu_seconds", 5.0, 5.0, 5.1, 4.8, 5.4, 4),
    ),
    slot_seconds=30.0, bundles={"noise": "x", "ladder": "y"}, warnings=("smt: on",),
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
    assert GOOD.problems == []
    assert GOOD.sentence == (
        "On this machine, on 2027-01-15, a window of 30 s tells differences of 5 CPU-s apart; a window of 300 s tells "
        "differences of 5 CPU-s apart (20 pairs, power 0.8 at a two-sided level of 0.05, from the upper 80 % bound of "
        "the noise of both arms; not less than the smallest load that was recovered). Known loads in windows of 30 s: "
        "0.3 CPU-s measured as 0.2 CPU-s (-0.1 to 0.5, not told apart from none); 5 CPU-s measured as 5.1 CPU-s (4.8 "
        "to 5.4). It was the only attempt on this machine."
    )


def test_the_claim_is_the_noise_where_that_is_more_than_the_smallest_load() -> None:
    low = Rung("node_cpu_seconds", 0.1, 0.1, 0.1, 0.05, 0.15, 4)
    noisy = dataclasses.replace(GOOD, ladder=(low, GOOD.ladder[1]))
    for seconds, sd in ((30.0, 4.0), (300.0, 2.0)):
        upper = NoiseRow(seconds, "push", 20, sd).sd_upper * seconds / 1000
        smallest = detectable(upper, 20)
        assert smallest is not None
        assert noisy.tells_apart()[seconds] == pytest.approx(max(0.1, smallest))
    missed = Rung("node_cpu_seconds", 0.3, 0.3, 0.1, -0.1, 0.3, 4)
    gap = dataclasses.replace(GOOD, ladder=(low, missed, GOOD.ladder[1]))
    assert gap.least_seen == 5.0  # a smaller one that was seen by chance does not count


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"ladder": (Rung("node_cpu_seconds", 5.0, 5.0, 4.0, 3.8, 4.2, 4),)},
            "a known load of 5 CPU-s was measured as 4 CPU-s (3.8 to 4.2)",
        ),
        (
            {"ladder": (Rung("node_cpu_seconds", 5.0, 5.0, 4.0, -1.0, 9.0, 4),)},
            "not even 5 CPU-s are told apart from none (-1 to 9)",
        ),
        (
            {"same": (SameTwice("pull", "node_cpu_seconds", 30.0, 15, 0.0, -0.25, 0.25, 0.55, 0.15),)},
            "two windows of pull that are the same differ by 0 CPU-s in 30 s (90 % interval -0.25 to 0.25), and the "
            "interval is not inside the margin of ±0.15 CPU-s: it takes about 204 more windows of pull",
        ),
        (
            {"same": (SameTwice("push", "node_cpu_seconds", 30.0, 15, 0.4, 0.3, 0.5, 0.2, 0.15),)},
            "differ by 0.4 CPU-s in 30 s (90 % interval 0.3 to 0.5), and the interval is not inside the margin of "
            "±0.15 CPU-s; more windows do not mend that, as the mean itself is outside",
        ),
    ],
)
def test_a_machine_that_is_not_fit_says_so_and_why(change: dict[str, object], says: str) -> None:
    unfit = dataclasses.replace(GOOD, **change)  # type: ignore[arg-type]
    assert unfit.sentence.startswith("On this machine, on 2027-01-15, no claim can be made: ")
    assert says in unfit.sentence
    assert "Known loads in windows of 30 s: " in unfit.sentence
    assert unfit.sentence.endswith("It was the only attempt on this machine.")


def test_every_attempt_is_in_the_sentence_with_its_result() -> None:
    earlier = (
        Attempt("2027-01-14T08:00:00+00:00", "not qualified: a known load of 5 CPU-s was measured as 4 CPU-s"),
        Attempt("2027-01-14T09:00:00+00:00", "given up before its end"),
    )
    assert dataclasses.replace(GOOD, earlier=earlier).sentence.endswith(
        "It was attempt 3 on this machine; the others: 1, 2027-01-14: not qualified: a known load of 5 CPU-s was "
        "measured as 4 CPU-s; 2, 2027-01-14: given up before its end."
    )


def test_a_qualification_is_stored_in_the_labs_folder(lab: Lab) -> None:
    assert load(lab) is None
    save(lab, GOOD)
    assert load(lab) == GOOD


def noise(study: Study, seconds: float, curve: NoiseCurve | None = GOOD.curve) -> float | str:
    return noise_of(override(study, {"estimand.window_seconds": seconds}, "test"), curve)


def test_noise_is_interpolated_between_lengths_and_never_scaled_beyond_them(study: Study) -> None:
    short, long = (NoiseRow(*row).sd_upper for row in ((30.0, "push", 20, 4.0), (300.0, "push", 20, 2.0)))
    assert noise(study, 30.0) == pytest.approx(0.03 * short)
    assert noise(study, 300.0) == pytest.approx(0.3 * long)
    assert noise(study, 9000**0.5) == pytest.approx((0.03 * short * 0.3 * long) ** 0.5)
    assert noise(study, 1800.0) == (
        "the window of 1800 s is longer than the noise curve of this machine reaches (300 s), and noise is not scaled "
        "beyond what was measured; invoke experiment.qualify --long measures up to 600 s"
    )
    assert "is shorter than the noise curve of this machine reaches (30 s)" in str(noise(study, 20.0))
    reaches = curve((30, "push", 4.0), (600, "push", 4.0))
    assert str(noise(study, 1800.0, reaches)).endswith("beyond what was measured")
    assert "invoke experiment.qualify" in str(noise(study, 30.0, None))
    joules = override(study, {"primary.outcome": "node_joules"}, "test")
    assert noise_of(joules, GOOD.curve) == "the noise curve has no node_joules"


def test_an_arm_that_was_not_measured_counts_as_the_noisiest(study: Study) -> None:
    rows = curve((45, "push", 3.0), (45, "pull", 4.0))
    own = override(study, {"arms": ("push", "off"), "estimand.arms": {"push": "x", "off": "y"}}, "test")
    push, pull = (NoiseRow(45.0, "push", 20, sd).sd_upper for sd in (3.0, 4.0))
    assert noise(own, 45.0, rows) == pytest.approx(0.045 * ((push**2 + pull**2) / 2) ** 0.5)


def test_a_plan_says_how_long_it_takes_and_what_it_can_see(study: Study) -> None:
    few, many = make_plan(study, seed=3), make_plan(study, seed=3, pairs=20)
    assert any("below 6 pairs there is no test" in line for line in preregistration.printed(few, GOOD))
    assert any("not qualified" in line for line in preregistration.printed(many, None))
    sd = noise(study, study.estimand.window_seconds)
    assert isinstance(sd, float)
    effect = detectable(sd, 20)
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
