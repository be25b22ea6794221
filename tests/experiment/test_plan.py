import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardwatt.bundle.model import Run
from hardwatt.bundle.writer import validate_plan
from hardwatt.config.settings import ROOT
from hardwatt.experiment.plan.run_table import Row, RunTable, complete, make_plan, next_row
from hardwatt.experiment.plan.study_file import Study, read_study

STUDY = read_study(ROOT / "experiments/studies/push-vs-pull.toml")
SEEDS = st.integers(0, 2**31 - 1)


def ended(row: Row, status: str = "done") -> Run:
    times = (1, 2) if status == "done" else (1, 1)
    return Run(row.run_id, row.block, row.position, row.arm, row.repeat, status, "", *times)  # type: ignore[arg-type]


def test_the_plan_is_one_that_the_bundle_accepts(study: Study) -> None:
    plan = make_plan(study, seed=7)
    assert [run.run_id for run in validate_plan(plan.to_dict()).runs] == [row.run_id for row in plan.rows]


@settings(deadline=None)
@given(SEEDS, st.integers(1, 40))
def test_the_same_seed_gives_the_same_plan_and_the_order_is_balanced(seed: int, pairs: int) -> None:
    plan = make_plan(STUDY, seed=seed, pairs=pairs)
    assert plan.sha256 == make_plan(STUDY, seed=seed, pairs=pairs).sha256
    firsts = Counter(row.arm for row in plan.rows if row.position == 0)
    assert abs(firsts["push"] - firsts["pull"]) == pairs % 2
    for block in range(1, pairs + 1):
        pair = [row for row in plan.rows if row.block == block]
        assert {row.arm for row in pair} == set(STUDY.arms)
        assert pair[0].offsets == pair[1].offsets
    assert all(0 <= row.phase_seconds <= STUDY.timing.phase_seconds for row in plan.rows)


def test_another_seed_gives_another_order_trace_and_phase() -> None:
    plans = [make_plan(STUDY, seed=seed, pairs=10) for seed in range(30)]
    assert len({tuple(row.arm for row in plan.rows) for plan in plans}) > 20
    assert len({plan.rows[0].offsets for plan in plans}) == 30
    assert len({plan.rows[0].phase_seconds for plan in plans}) == 30


def test_the_first_arm_of_a_single_pair_is_random() -> None:
    firsts = Counter(make_plan(STUDY, seed=seed, pairs=1).rows[0].arm for seed in range(400))
    assert 150 < firsts["push"] < 250


def test_the_hash_covers_the_study_and_the_code() -> None:
    plan = make_plan(STUDY, seed=7)
    other = STUDY.model_copy(update={"question": "?"})
    hashes = {plan.sha256, make_plan(other, seed=7).sha256, make_plan(STUDY, seed=7, code={"arm": "x"}).sha256}
    assert len(hashes) == 3


@pytest.fixture
def plan() -> RunTable:
    return make_plan(STUDY, seed=7, pairs=2)


def test_runs_follow_the_table(plan: RunTable) -> None:
    runs: list[Run] = []
    while (row := next_row(plan, runs)) is not None:
        runs.append(ended(row))
    assert [run.run_id for run in runs] == [row.run_id for row in plan.rows]
    assert complete(plan, runs) == 2


def test_a_failed_run_gives_its_pair_up_and_repeats_both_arms_at_the_end(plan: RunTable) -> None:
    runs = [ended(plan.rows[0]), ended(plan.rows[1], "failed")]
    rest = []
    while (row := next_row(plan, runs)) is not None:
        rest.append(row)
        runs.append(ended(row))
    assert rest == [*plan.rows[2:], *plan.repeat(1)]
    assert {row.block for row in plan.repeat(1)} == {3}
    assert complete(plan, runs) == 2


def test_after_a_failed_first_run_the_second_is_not_run(plan: RunTable) -> None:
    assert next_row(plan, [ended(plan.rows[0], "failed")]) == plan.rows[2]


def test_what_a_person_interrupted_uses_no_repeat_up(plan: RunTable) -> None:
    runs: list[Run] = []
    for _ in range(10):
        row = next_row(plan, runs)
        assert row is not None
        runs.append(replace(ended(row, "failed"), reason="stopped by Ctrl-C"))
    while (row := next_row(plan, runs)) is not None:
        runs.append(ended(row))
    assert complete(plan, runs) == plan.pairs


def test_repeats_end_at_the_limit(plan: RunTable) -> None:
    runs: list[Run] = []
    while (row := next_row(plan, runs)) is not None:
        runs.append(ended(row, "failed"))
    assert len(runs) == plan.pairs + STUDY.design.max_repeats
    assert complete(plan, runs) == 0


def several(arms: int, order: str = "auto") -> Study:
    names = tuple(f"arm{number}" for number in range(arms))
    estimand = STUDY.estimand.model_copy(update={"arms": dict.fromkeys(names, "x")})
    design = STUDY.design.model_copy(update={"order": order})
    return STUDY.model_copy(update={"arms": names, "estimand": estimand, "design": design})


@settings(deadline=None)
@given(SEEDS, st.integers(3, 6))
def test_in_a_williams_square_each_arm_follows_each_other_one_equally_often(seed: int, arms: int) -> None:
    rows = arms if arms % 2 == 0 else 2 * arms
    plan = make_plan(several(arms), seed=seed, pairs=2 * rows)
    blocks = [[row.arm for row in plan.rows if row.block == block] for block in range(1, 2 * rows + 1)]
    follows = Counter(pair for block in blocks for pair in itertools.pairwise(block))
    places = Counter((place, arm) for block in blocks for place, arm in enumerate(block))
    assert len(follows) == arms * (arms - 1)
    assert len(set(follows.values())) == len(set(places.values())) == 1


@settings(deadline=None)
@given(SEEDS, st.integers(1, 10))
def test_abba_runs_pairs_in_twos_and_is_balanced(seed: int, twos: int) -> None:
    plan = make_plan(several(2, "abba"), seed=seed, pairs=2 * twos)
    arms = [row.arm for row in plan.rows]
    fours = [arms[start : start + 4] for start in range(0, len(arms), 4)]
    assert all(four == four[::-1] and len(set(four)) == 2 for four in fours)
    assert abs(sum(four[0] == "arm0" for four in fours) - twos / 2) <= 0.5


def test_blocks_take_turns_in_their_number_of_commits() -> None:
    trace = STUDY.trace.model_copy(update={"commits_by_block": (1, 3)})
    plan = make_plan(STUDY.model_copy(update={"trace": trace}), seed=9, pairs=8)
    counts = [len(row.offsets) for row in plan.rows]
    assert all(first == second for first, second in zip(counts[::2], counts[1::2], strict=True))
    assert Counter(counts) == {1: 8, 3: 8}
    assert len({tuple(sorted(counts[at : at + 4 : 2])) for at in range(0, 16, 4)}) == 1
