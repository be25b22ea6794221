from pathlib import Path

import pytest

from hardwatt.engine.study import Study, list_studies, load_study, read_study
from hardwatt.engine.undo import Changes
from hardwatt.errors import SettingsError
from hardwatt.settings import ROOT

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
    for name in ("applied", "scaled", "suspended", "removed"):
        assert f"`{name}`" in readme
        assert callable(getattr(Changes, name))
