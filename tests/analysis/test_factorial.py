"""Two crossed factors: planted effects come out, intervals hold them as often as they say, and so does the power."""

import itertools
import json

import numpy as np
import pytest

from hardwatt.analysis.contract import as_json, parse
from hardwatt.analysis.factorial import Asked, design, effects, factorial
from hardwatt.analysis.multi_arm import combined, in_blocks, several
from hardwatt.analysis.sections import Factorial, FactorialContrast
from hardwatt.bundle.draws import orders
from hardwatt.bundle.model import Run
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError
from hardwatt.experiment.plan.study_file import list_studies, load_study
from hardwatt.instruments.figure import Figure

STUDY = load_study(ROOT, "control-observer")
DEFINITION = json.loads(json.dumps(STUDY.model_dump(mode="json"), sort_keys=True))
ARMS = STUDY.arms
WATCHING = {"off": 0.0, "15s": 28.0, "1s": 56.0}
FLUX, MORE = 8.0, {"off": 0.0, "15s": 0.0, "1s": 12.0}
"""Planted, in CPU-ms per s: what Flux costs, and what watching costs more beside it."""
WINDOW = 30.0


def planted(arm: str) -> float:
    levels = STUDY.levels_of(arm)
    prometheus, flux = str(levels["prometheus"]), bool(levels["flux"])
    return 140.0 + WATCHING[prometheus] + flux * (FLUX + MORE[prometheus])


def session(blocks: int, noise: float, rng: np.random.Generator) -> tuple[list[Run], dict[tuple[str, str], Figure]]:
    """One session: blocks that drift, places that heat up, and noise of each window, all in CPU-ms per s."""
    runs, figures = [], {}
    for block, order in enumerate(orders("williams", ARMS, blocks, int(rng.integers(1000)))):
        drift = float(rng.normal(0, 10))
        for position, arm in enumerate(order):
            t0 = (block * len(ARMS) + position) * 60_000
            run = Run(f"{block}-{arm}", block, position, arm, 0, "done", "", t0, t0 + round(1000 * WINDOW))
            rate = planted(arm) + drift + 0.5 * position + float(rng.normal(0, noise))
            seconds = rate * WINDOW / 1000
            runs.append(run)
            figures[run.run_id, "node_cpu_seconds"] = Figure(seconds, "CPU-seconds", "test", seconds, seconds)
            figures[run.run_id, "watching.prometheus"] = Figure(0.0, "CPU-seconds", "test", 0.0, 0.0)
    return runs, figures


def analysed(blocks: int, noise: float, seed: int, margin: float | None = None) -> Factorial:
    runs, figures = session(blocks, noise, np.random.default_rng(seed))
    asked = Asked("node_cpu_seconds", ("watching.prometheus", "absent"), window_seconds=WINDOW, margin=margin)
    answer = factorial(DEFINITION, runs, figures, ARMS, asked)
    assert answer is not None
    return answer


def row(answer: Factorial, label: str) -> FactorialContrast:
    return next(contrast for contrast in answer.outcomes[0].contrasts if contrast.label == label)


BESIDE_FLUX = "prometheus 1s minus off, with flux on rather than off"
BESIDE_FLUX_SLOW = "prometheus 15s minus off, with flux on rather than off"


def test_effects_without_noise_are_the_planted_ones() -> None:
    answer = analysed(6, 0.0, 1)
    assert answer.factors == {"prometheus": ["off", "15s", "1s"], "flux": ["off", "on"]}
    expected = {
        BESIDE_FLUX: MORE["1s"],
        BESIDE_FLUX_SLOW: 0.0,
        "prometheus 1s minus off, flux off": 56.0,
        "prometheus 1s minus off, flux on": 68.0,
        "prometheus 1s minus off": 62.0,
        "prometheus 15s minus off": 28.0,
        "flux on minus off, prometheus off": FLUX,
        "flux on minus off, prometheus 1s": FLUX + 12,
        "flux on minus off": FLUX + 4,
    }
    for label, value in expected.items():
        contrast = row(answer, label)
        assert contrast.mixed is not None
        assert contrast.mixed.value == pytest.approx(value, abs=1e-6), label
        assert contrast.mixed.unit == "CPU-ms per s"
        assert contrast.paired.value == pytest.approx(value, abs=1e-6), label  # each arm takes each place once
    assert {arm: f.value for arm, f in answer.outcomes[0].arms.items()}.keys() == set(ARMS)


def test_intervals_hold_the_planted_interaction_and_the_power_is_what_it_says() -> None:
    held, mixed_held, seen = 0, 0, 0
    sessions, noise = 240, 5.0
    # Standard error of a difference between differences over six blocks: 2 s / sqrt(6).
    for seed in range(sessions):
        contrast = row(analysed(6, noise, seed), BESIDE_FLUX)
        assert contrast.mixed is not None and contrast.paired.low is not None and contrast.paired.high is not None
        assert contrast.mixed.low is not None and contrast.mixed.high is not None
        held += contrast.paired.low <= MORE["1s"] <= contrast.paired.high
        mixed_held += contrast.mixed.low <= MORE["1s"] <= contrast.mixed.high
        seen += contrast.mixed.low > 0
    assert held / sessions == pytest.approx(0.95, abs=0.04)
    assert mixed_held / sessions == pytest.approx(0.95, abs=0.04)
    told = [row(analysed(6, noise, seed), BESIDE_FLUX).mixed_detectable for seed in range(40)]
    detectable = float(np.mean([figure.value for figure in told if figure and figure.value]))
    assert detectable == pytest.approx(12.0, rel=0.1)  # the planted effect is what this session can just detect
    assert seen / sessions == pytest.approx(0.80, abs=0.08)


def test_an_interaction_that_is_not_there_is_found_in_the_margin_only_where_there_is_power() -> None:
    quiet = row(analysed(12, 1.0, 3, margin=5 * WINDOW / 1000), BESIDE_FLUX_SLOW)
    noisy = row(analysed(6, 20.0, 3, margin=5 * WINDOW / 1000), BESIDE_FLUX_SLOW)
    assert quiet.equivalence is not None and quiet.equivalence.equivalent
    assert quiet.equivalence.margin.value == pytest.approx(5.0)
    assert noisy.equivalence is not None and not noisy.equivalence.equivalent
    assert quiet.p is not None and row(analysed(6, 0.5, 3), "flux on minus off").p is None
    assert row(analysed(5, 0.5, 3), BESIDE_FLUX).p is None


def test_one_block_has_values_and_no_interval_and_every_answer_reads_back() -> None:
    answer = analysed(1, 1.0, 1)
    assert all(contrast.paired.low is None and contrast.mixed is None for contrast in answer.outcomes[0].contrasts)
    assert [outcome.name for outcome in answer.outcomes] == ["node_cpu_seconds", "watching.prometheus"]
    for blocks in (1, 6):
        assert parse(Factorial, as_json(analysed(blocks, 1.0, 2))) == analysed(blocks, 1.0, 2)


def test_contrasts_of_one_arm_against_the_first_are_those_of_all_arms() -> None:
    rng = np.random.default_rng(4)
    columns = {arm: list(rng.normal(planted(arm), 3, 6)) for arm in ARMS}
    places = {arm: [int(place) for place in rng.permutation(6)] for arm in ARMS}
    for where in (None, places):
        for contrast in several(columns, where).contrasts:
            own = combined(columns, {contrast.arm: 1.0, ARMS[0]: -1.0}, where)
            assert (own.paired, own.mixed) == (contrast.paired, contrast.mixed)


def test_the_error_of_a_contrast_is_that_of_the_balanced_formula() -> None:
    rng = np.random.default_rng(5)
    y = rng.normal(0, 2, (8, 4))
    columns = {name: list(y[:, number]) for number, name in enumerate("abcd")}
    weights = {"a": 1.0, "b": -1.0, "c": -1.0, "d": 1.0}
    own = combined(columns, weights)
    rest = y - y.mean(axis=1, keepdims=True) - y.mean(axis=0) + y.mean()
    error = np.sqrt((rest**2).sum() / 21 * 4 / 8)
    assert own.mixed is not None and own.mixed.high is not None and own.mixed.low is not None
    assert (own.mixed.high - own.mixed.low) / 2 == pytest.approx(2.0796138447 * error)
    assert own.mixed_detectable == pytest.approx((2.0796138447 + 0.8591) * error, rel=1e-4)


@pytest.mark.parametrize("weights", [{"a": 1.0, "b": -0.5}, {"a": 0.0, "b": 0.0}, {"a": 1.0, "z": -1.0}])
def test_weights_that_do_not_cancel_the_block_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(LabError, match="add up to zero"):
        combined({"a": [1.0, 2.0], "b": [2.0, 3.0]}, weights)


def test_a_contrast_that_is_zero_but_for_rounding_is_zero() -> None:
    columns = {"a": [0.1 + 0.2, 0.7], "b": [0.3, 0.7], "c": [1.0, 1.0]}
    assert in_blocks(columns, {"a": 1.0, "b": -1.0}).tolist() == [0.0, 0.0]


def test_every_effect_cancels_blocks_and_studies_without_two_crossed_factors_have_none() -> None:
    crossed = design(DEFINITION, ARMS)
    assert crossed is not None
    for effect in effects(crossed):
        assert sum(effect.weights.values()) == pytest.approx(0.0, abs=1e-12)
    labels = [effect.label for effect in effects(crossed)]
    assert len(labels) == len(set(labels)) == 2 + 2 * (1 + 2) + 1 * (1 + 3)
    for name in set(list_studies(ROOT)) - {"control-observer"}:
        study = load_study(ROOT, name)
        assert design(study.model_dump(mode="json"), study.arms) is None, name
    for gone in itertools.islice(ARMS, 3):
        assert design(DEFINITION, [arm for arm in ARMS if arm != gone]) is None
