"""Every shipped study: it can be planned in both sizes, its arms know their levels, and it says what it does."""

import re
import shutil
from pathlib import Path

import pytest

from hardwatt.cluster.changes import Changes
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import SettingsError
from hardwatt.experiment.arm import Commit, Git, RunContext, load_arm
from hardwatt.experiment.plan.run_table import make_plan
from hardwatt.experiment.plan.study_file import list_studies, load_study
from hardwatt.experiment.plan.study_model import ARMS, Study
from tests.experiment.test_arms import Objects, Pages

STUDIES = list_studies(ROOT)
QUICK_MINUTES = 12
WANTED = {
    "push-vs-pull", "break-even", "always-on", "every-way", "interval", "applications", "off", "drift", "decoupling",
    "burst", "control-aa", "control-positive", "control-ephemeral", "control-kepler", "talk-at-rest",
    "qualify-noise", "qualify-ladder",
}  # fmt: skip


def sizes(name: str) -> list[Study]:
    study = load_study(ROOT, name)
    return [study, study.in_full()]


def context(study: Study, arm: str) -> RunContext:
    git = Git(
        "ssh://git@node:2222/srv/git/workload.git", "main", "app", "[node]:2222 key\n", {"flux": "F", "runner": "R"}
    )
    images = {name: f"hardwatt.dev/{name}@sha256:aa" for name in ("app", "runner", "buildbot")}
    spaces = {"workload": "workload", "ci": "ci", "flux": "flux-system"}
    changes = Changes(Objects(), Pages())
    return RunContext(study.for_arm(arm), f"p001-1-{arm}", changes, git, images, spaces, study.levels_of(arm))


def test_the_studies_of_the_project_are_there() -> None:
    assert set(STUDIES) >= WANTED


@pytest.mark.parametrize("name", STUDIES)
def test_a_quick_run_takes_minutes_and_a_full_one_has_pairs_enough(name: str) -> None:
    quick, full = sizes(name)
    assert make_plan(quick, seed=1).estimated_seconds() < QUICK_MINUTES * 60
    assert full.design.full_pairs >= 20
    assert full.estimand.window_seconds >= 2 * quick.estimand.window_seconds


@pytest.mark.parametrize("name", STUDIES)
def test_every_arm_works_with_the_levels_that_its_study_gives_it(name: str) -> None:
    for study in sizes(name):
        for arm in study.arms:
            one = load_arm(ROOT, study.code_of(arm))(context(study, arm))
            with one.prepare():
                times = [action.seconds for action in one.actions()]
            assert all(0 <= at < study.estimand.window_seconds for at in times)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_says_what_it_asks_what_runs_and_what_is_outside(name: str) -> None:
    for study in sizes(name):
        assert study.question.endswith("?")
        assert study.notes
        described = set(study.estimand.arms.values())
        assert all(len(text) > 3 for text in described)
        assert (study.control is None) or study.control.kind in ("a/a", "positive")
        if "kepler" in name:
            assert any("kepler" in need for need in study.needs)


def test_arms_of_one_study_get_the_same_window_and_the_same_trace() -> None:
    for name in STUDIES:
        for study in sizes(name):
            plan = make_plan(study, seed=3)
            for block in {row.block for row in plan.rows}:
                offsets = {row.offsets for row in plan.rows if row.block == block}
                assert len(offsets) == 1, f"{name}: arms of block {block} have different traces"


# What a new user does in ten minutes, by experiments/README.md, and what goes wrong on the way.


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    return tmp_path


def own_study(checkout: Path, **changes: str) -> Path:
    """Copy push-vs-pull to slow-poll and change it as the README says; ``changes``: line pattern -> other line."""
    text = (checkout / "experiments/studies/push-vs-pull.toml").read_text().partition("# The values of a full run")[0]
    first = {
        "interval_seconds = 5$": "interval_seconds = 15",
        "apply_interval_seconds = 50": "apply_interval_seconds = 150",
    }
    for pattern, line in {**first, **changes}.items():
        text, count = re.subn(f"(?m)^{pattern}", line, text)
        assert count == 1, pattern
    path = checkout / "experiments/studies/slow-poll.toml"
    path.write_text(text)
    return path


READY = {
    "window_seconds = 45": "window_seconds = 75",
    "spacing_seconds = 14": "spacing_seconds = 24",
    "phase_seconds = 5": "phase_seconds = 15",
}


def test_the_readmes_study_works_once_everything_is_changed_that_it_says(checkout: Path) -> None:
    own_study(checkout, **READY)
    study = load_study(checkout, "slow-poll")
    assert (study.name, study.flux.interval_seconds) == ("slow-poll", 15)
    assert len(make_plan(study, seed=1, pairs=3).rows) == 6


@pytest.mark.parametrize("left_out", sorted(READY))
def test_each_step_that_is_left_out_is_named_with_its_key(checkout: Path, left_out: str) -> None:
    own_study(checkout, **{key: line for key, line in READY.items() if key != left_out})
    with pytest.raises(SettingsError, match=left_out.partition(" ")[0]):
        load_study(checkout, "slow-poll")


@pytest.mark.parametrize(
    ("pattern", "line", "complaint"),
    [
        ("pairs = 3", "pears = 3", r"design\.pears.*pairs"),
        ("pairs = 3", 'pairs = "three"', r"design\.pairs"),
        ("commits = 3", "commits = -1", r"trace\.commits"),
        (r"arms = .*", 'arms = ["push", "pul"]', r"estimand\.arms"),
        (r"arms = .*", 'arms = ["push", "push"]', r"arms"),
        ("replicas = 1", "replicas = 1000", r"workload\.replicas"),
        ("value = 100", "value = 9000", r"primary\.margin\.value"),
        (r"unit = .*", 'unit = "mW"', r"primary\.margin\.unit"),
        (r"done = .*", "", r"estimand\.done"),
        (r'    "cpu_seconds.ci",', '    "cpu_secnds.ci",', r"secondaries: unknown outcome 'cpu_secnds\.ci'"),
        (r"timeout_seconds = 60", "timeout = 60", r"gate\.timeout"),
        (r"confidence = .*", "confidence = 95", r"primary\.confidence"),
        (r"manifests = .*", 'manifests = "App"', r"workload\.manifests"),
    ],
)  # fmt: skip
def test_a_mistake_in_it_is_an_error_that_names_the_key(
    checkout: Path, pattern: str, line: str, complaint: str
) -> None:
    path = own_study(checkout, **READY)
    text, count = re.subn(f"(?m)^{pattern}", line, path.read_text(), count=1)
    assert count == 1
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        load_study(checkout, "slow-poll")
    assert re.search(complaint, error.value.message, re.DOTALL), error.value.message
    assert "slow-poll.toml" in error.value.message
    assert error.value.hint


def test_a_study_with_an_arm_that_does_not_exist_names_its_file(checkout: Path) -> None:
    path = own_study(checkout, **READY)
    path.write_text(path.read_text().replace('"pull"', '"pulll"').replace("\npull =", "\npulll ="))
    with pytest.raises(SettingsError, match=r"arms: there is no experiments/arms/pulll\.py; did you mean 'pull'\?"):
        load_study(checkout, "slow-poll")


def test_the_readmes_arm_works_as_it_stands_there(checkout: Path) -> None:
    text = (checkout / "experiments/arms/README.md").read_text()
    example = re.search(r"(?s)```python\n(.*?)```", text)
    assert example
    (checkout / "experiments/arms/push-wait.py").write_text(example[1])
    made = context(load_study(ROOT, "push-vs-pull"), "push")
    one = load_arm(checkout, "push-wait")(made)
    with one.prepare():
        one.deliver(Commit(0, "r1", "sha1"))
        cluster = made.changes.cluster
        assert isinstance(cluster, Objects)
        job = cluster.objects["Job ci/runner-p001-1-push-1"]
    assert "rollout status" in job["spec"]["template"]["spec"]["containers"][0]["command"][2]


def test_the_readmes_list_every_study_and_every_arm() -> None:
    text = (ROOT / "experiments/README.md").read_text()
    assert {name for name in STUDIES if f"`{name}`" not in text} == set()
    text = (ROOT / "experiments/arms/README.md").read_text()
    assert {path.name for path in (ROOT / ARMS).glob("*.py") if f"`{path.name}`" not in text} == set()
