from pathlib import Path

import pytest

from hardwatt.analysis.answer import ESTIMATORS
from hardwatt.cluster.changes import Changes
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import SettingsError
from hardwatt.experiment.plan.run_table import make_plan
from hardwatt.experiment.plan.study_file import Study, list_studies, load_study, read_study

SHIPPED = ROOT / "experiments/studies/push-vs-pull.toml"


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = SHIPPED.read_text()
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return path


def test_every_shipped_study_is_valid_and_named_after_its_file() -> None:
    names = list_studies(ROOT)
    assert "push-vs-pull" in names
    assert [load_study(ROOT, name).name for name in names] == names


def test_the_default_fits_a_small_machine(study: Study) -> None:
    assert study.trace.commits >= 3
    assert study.design.pairs >= 3
    assert study.primary.outcome == "node_cpu_seconds"
    assert study.trace.spacing_seconds - study.trace.jitter_seconds > study.flux.interval_seconds


@pytest.mark.parametrize(
    ("old", "new", "names", "suggestion"),
    [
        ("spacing_seconds = 14", "spacing_second = 14", "trace.spacing_second", "spacing_seconds"),
        ("question =", "qestion =", "qestion", "question"),
        ("[gate]", "[gates]", "gates", "gate"),
    ],
)
def test_a_typo_is_named_with_the_nearest_key(tmp_path: Path, old: str, new: str, names: str, suggestion: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_study(changed(tmp_path, old, new))
    assert repr(names) in error.value.message
    assert f"did you mean {suggestion!r}?" in error.value.message


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("spacing_seconds = 14", "spacing_seconds = 6", "trace.spacing_seconds"),
        ("window_seconds = 45", "window_seconds = 40", "estimand.window_seconds"),
        ('arms = ["push", "pull"]', 'arms = ["push", "push"]', "arms: the arms must differ"),
        ('arms = ["push", "pull"]', 'arms = ["push", "poll"]', "'poll'"),
        ("pairs = 3", "pairs = 0", "design.pairs"),
        ("commits = 3", 'commits = "three"', "trace.commits"),
        ('interval = "t"', 'interval = "signed rank"', "primary.interval"),
        ('estimator = "mean paired difference"', 'estimator = "Hodges-Lehmann"', "primary.interval"),
        ('estimator = "mean paired difference"', 'estimator = "median"', "primary.estimator"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_key(tmp_path: Path, old: str, new: str, key: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_study(changed(tmp_path, old, new))
    assert key in error.value.message


def test_commits_may_meet_only_where_the_study_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="may_coalesce"):
        read_study(changed(tmp_path, "spacing_seconds = 14", "spacing_seconds = 2"))
    assert read_study(changed(tmp_path, "spacing_seconds = 14", "spacing_seconds = 2\nmay_coalesce = true"))


def test_every_estimator_that_a_study_may_name_is_one_of_the_analysis(tmp_path: Path) -> None:
    mean = changed(tmp_path, 'interval = "t"', 'interval = "studentised bootstrap"')
    assert (read_study(mean).primary.estimator, read_study(mean).primary.interval) in ESTIMATORS
    old = 'estimator = "mean paired difference"\ninterval = "t"'
    ranks = changed(tmp_path, old, 'estimator = "Hodges-Lehmann"\ninterval = "signed rank"')
    assert (read_study(ranks).primary.estimator, read_study(ranks).primary.interval) in ESTIMATORS


def test_an_unknown_study_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="push-vs-pull"):
        load_study(ROOT, "push-vs-pul")


def test_broken_toml_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("question = ")
    with pytest.raises(SettingsError, match=r"mine\.toml is not valid TOML"):
        read_study(path)


def test_the_readmes_example_is_refused_until_the_keys_that_it_names_are_changed(tmp_path: Path) -> None:
    readme = (ROOT / "experiments/README.md").read_text()
    assert "`flux.interval_seconds = 15`" in readme
    assert "`trace.spacing_seconds` must grow to 24 and `estimand.window_seconds` to 75" in readme
    text = SHIPPED.read_text().replace("interval_seconds = 5", "interval_seconds = 15")
    path = tmp_path / "slow-poll.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        read_study(path)
    assert "trace.spacing_seconds" in error.value.message
    assert "estimand.window_seconds" in error.value.message
    assert "timing.phase_seconds" in error.value.message
    assert "`timing.phase_seconds` to 15" in readme
    text = text.replace("spacing_seconds = 14", "spacing_seconds = 24").replace("= 45", "= 75")
    path.write_text(text.replace("phase_seconds = 5", "phase_seconds = 15"))
    assert read_study(path).flux.interval_seconds == 15


def test_the_readme_names_every_folder_and_method_that_it_describes() -> None:
    readme = (ROOT / "experiments/README.md").read_text()
    for folder in ("studies", "arms", "workloads"):
        assert f"`{folder}/" in readme
        assert (ROOT / "experiments" / folder).is_dir()
    arms = (ROOT / "experiments/arms/README.md").read_text()
    for name in ("applied", "scaled", "suspended", "removed"):
        assert f"`{name}`" in arms
        assert callable(getattr(Changes, name))


LEVELS = """
[factors]
"flux.interval_seconds" = [5, 4]
mode = ["a", "b"]

[arm.push]
levels = {"flux.interval_seconds" = 5, mode = "a"}

[arm.pull]
use = "push"
levels = {"flux.interval_seconds" = 4, mode = "b"}
"""


def added(tmp_path: Path, text: str, old: str = "", new: str = "") -> Path:
    base = (Path(__file__).parent / "base.toml").read_text()
    assert old in base
    path = tmp_path / "mine.toml"
    path.write_text(base.replace(old, new, 1) + text)
    return path


def test_levels_are_set_for_their_arm_alone_and_an_arm_may_use_anothers_code(tmp_path: Path) -> None:
    study = read_study(added(tmp_path, LEVELS))
    assert study.for_arm("pull").flux.interval_seconds == 4
    assert study.for_arm("push") == study
    assert (study.code_of("pull"), study.levels_of("pull")["mode"]) == ("push", "b")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('mode = "b"}', 'mode = "c"}', "arm.pull.levels: mode = c is not one of its levels a, b"),
        (', mode = "b"}', "}", "arm.pull.levels: no level of the factor 'mode'"),
        ("mode = [", "mood = [", "arm.push.levels: 'mode' is not in factors"),
        (
            '"flux.interval_seconds" = [5, 4]',
            '"flux.interval_seconds" = [5, 4]\n"trace.commits" = [3]',
            "'trace.commits'",
        ),
        ('use = "push"', 'usse = "push"', "unknown key 'arm.pull.usse'; did you mean 'use'?"),
        ("[arm.pull]", "[arm.poll]", "arm: 'poll' is not one of the arms"),
        ('"flux.interval_seconds" = [5, 4]', '"flux.interval_second" = [5, 4]', "flux.interval_second"),
    ],
)
def test_a_mistake_in_factors_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in LEVELS
    with pytest.raises(SettingsError) as error:
        read_study(added(tmp_path, LEVELS.replace(old, new)))
    assert says in error.value.message


MARGIN = """
[primary.margin]
value = 40
unit = "CPU-ms per deployment"
because = "Less than what a rollout itself varies by."
plausible = 500
"""


def test_a_margin_holds_for_a_window_in_the_primarys_unit(tmp_path: Path) -> None:
    study = read_study(added(tmp_path, MARGIN))
    assert make_plan(study, seed=1).to_dict()["primary"]["margin"] == pytest.approx(0.12)  # three deployments
    steady = read_study(added(tmp_path, MARGIN.replace("per deployment", "per s")))
    assert make_plan(steady, seed=1).to_dict()["primary"]["margin"] == pytest.approx(1.8)  # 45 s


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("value = 40", "value = 600", "more than the whole plausible effect (500)"),
        ("CPU-ms per deployment", "mJ per deployment", "is not a unit of node_cpu_seconds"),
        ("CPU-ms per deployment", "CPU-ms", "primary.margin.unit"),
        ("Less than what a rollout itself varies by.", "small", "primary.margin.because"),
        ("plausible = 500\n", "", "primary.margin.plausible"),
    ],
)
def test_a_margin_that_proves_nothing_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_study(added(tmp_path, MARGIN.replace(old, new)))
    assert says in error.value.message


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("full_pairs = 20\n", "", "design.full_pairs"),
        ("full_pairs = 20\n", "full_pairs = 20\ntarget = 0.5\n", "design.target"),
        ("pairs = 3\n", 'pairs = 3\norder = "abba"\n', "abba takes pairs in twos"),
        ("commits = 3\n", "commits = 3\ncommits_by_block = [1, 2]\n", "its largest number is trace.commits"),
        ("phase_seconds = 5\n", "phase_seconds = 2\n", "less than one reconcile interval (5 s)"),
        (
            "question =",
            'secondaries = ["commit_to_redy_seconds"]\nquestion =',
            "did you mean 'commit_to_ready_seconds'",
        ),
        ("question =", 'needs = ["kepler"]\nquestion =', "needs: 'kepler' is none of"),
        ("question =", 'exclusions = ["outlier"]\nquestion =', "exclusions.0"),
        ("[gate]", '[control]\nkind = "positive"\n\n[gate]', "control.known"),
        ("[gate]", '[control]\nkind = "a/a"\n\n[gate]', "the arms of an A/A study use the same code"),
        (
            "[gate]",
            '[full]\n"estimand.window_seconds" = 30\n\n[gate]',
            "with the values of full, estimand.window_seconds",
        ),
        ("[gate]", '[full]\n"estimand.window_second" = 90\n\n[gate]', "estimand.window_second"),
    ],
)
def test_what_a_design_cannot_do_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_study(added(tmp_path, "", old, new))
    assert says in error.value.message


def test_a_full_run_has_its_own_values_and_the_rest_stays(tmp_path: Path) -> None:
    full = '[full]\n"estimand.window_seconds" = 600\n"trace.commits" = 20\n\n[gate]'
    study = read_study(added(tmp_path, "", "[gate]", full))
    assert (study.in_full().estimand.window_seconds, study.in_full().trace.commits) == (600, 20)
    assert (study.estimand.window_seconds, study.in_full().timing) == (45, study.timing)


def test_a_short_phase_is_allowed_with_a_reason(tmp_path: Path) -> None:
    reason = 'phase_seconds = 2\nshort_phase_because = "polls are off in both arms"\n'
    assert read_study(added(tmp_path, "", "phase_seconds = 5\n", reason)).timing.phase_seconds == 2


def test_a_full_run_is_balanced(tmp_path: Path) -> None:
    three = ('arms = ["push", "pull"]', 'arms = ["push", "pull", "none"]')
    more = '[estimand.arms]\nnone = "nothing"\n'
    text = (Path(__file__).parent / "base.toml").read_text().replace(*three).replace("[estimand.arms]\n", more)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"design\.full_pairs: 20 blocks .* groups of 6 \(18 or 24 are\)"):
        read_study(path)
    path.write_text(text.replace("full_pairs = 20", "full_pairs = 18"))
    assert read_study(path).order == "williams"
