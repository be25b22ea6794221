"""What a person wrote with a former name is refused with today's name."""

import contextlib
import io
import shutil
from pathlib import Path

import pytest
from invoke import Program

import tasks
from hardwatt.config import settings
from hardwatt.core import former_names
from hardwatt.core.errors import SettingsError
from hardwatt.experiment import study_texts
from hardwatt.experiment.plan.study_file import load_study
from tests.compatibility.support import lab_in

ROOT = settings.ROOT


def invoke(*argv: str) -> tuple[int, str]:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        Program(name="Invoke", binary="invoke").run(["invoke", *argv])
    return int(ended.value.code or 0), errors.getvalue()


@pytest.mark.parametrize(
    ("text", "former", "today"),
    [
        ("[host]\npatience = 3", "host.patience", "host.timeout_factor"),
        ('[host]\nheaders = "update"', "host.headers", "host.kernel_headers"),
        ("[host]\nnokmem = true", "host.nokmem", "host.disable_kmem_accounting"),
    ],
)
def test_a_former_setting_is_refused_with_its_new_name(tmp_path: Path, text: str, former: str, today: str) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        settings.load(file)
    assert caught.value.message == f"{file}: {former} is called {today} now"
    assert caught.value.hint == f"mend {file} and run the command again"
    key = former.partition(".")[2]
    file.write_text(text.replace(key, today.partition(".")[2]))
    settings.load(file)


def test_all_former_settings_are_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('[host]\npatience = 3\nheaders = "none"\nnokmem = true')
    with pytest.raises(SettingsError) as caught:
        settings.load(file)
    assert caught.value.message.count(" is called ") == 3


def test_the_new_name_of_each_setting_exists_and_the_former_one_does_not() -> None:
    keys = {
        f"{section}.{key}"
        for section, fields in settings.Settings().model_dump().items()
        if isinstance(fields, dict)
        for key in fields
    }
    assert set(former_names.SETTINGS.values()) <= keys
    assert not set(former_names.SETTINGS) & keys


def test_a_former_task_is_refused_with_its_new_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardwatt.config.lab.open_lab", lambda: pytest.fail("a task ran"))
    refused = (2, "error: lab.first is called lab.quickstart now\n  next: invoke lab.quickstart\n")
    assert invoke("lab.first") == refused
    assert invoke("lab.status", "lab.first") == refused


def test_a_value_may_be_called_like_a_former_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []
    monkeypatch.setattr("hardwatt.config.lab.open_lab", lambda: lab_in(tmp_path))
    monkeypatch.setattr("hardwatt.energy.units.convert", lambda *given: seen.append(given))
    Program(name="Invoke", binary="invoke").run(
        ["invoke", "energy.convert", "lab.first", "--unit", "lab.first"], exit=False
    )
    assert seen == [("lab.first", "lab.first")]


def test_the_new_name_of_each_task_exists_and_make_uses_it() -> None:
    names = {str(context.name) for context in tasks.ns.to_contexts()}
    assert set(former_names.TASKS.values()) <= names
    assert not set(former_names.TASKS) & names
    makefile = (ROOT / "Makefile").read_text()
    assert "lab.quickstart" in makefile
    assert not [name for name in former_names.TASKS if name in makefile]


ARM = """
import contextlib
from hardwatt.delivery import Runner, flux_off
from hardwatt.engine.arm import BaseArm, Bench, Commit
from hardwatt.errors import LabError

class Arm(BaseArm):
    @contextlib.contextmanager
    def prepare(self):
        with flux_off(self.bench), Runner(self.bench).allowed():
            yield

    def deliver(self, commit):
        Runner(self.bench).start(commit)
"""
"""An arm as the pages of 800bb92 show one."""


def checkout(tmp_path: Path, arm: str) -> Path:
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    (tmp_path / "experiments/arms/push.py").write_text(arm)
    return tmp_path


def test_a_study_is_refused_if_an_arm_uses_former_names(tmp_path: Path) -> None:
    root = checkout(tmp_path, ARM)
    with pytest.raises(SettingsError) as caught:
        load_study(root, "push-vs-pull")
    for former, today in (
        ("hardwatt.delivery.Runner", "hardwatt.delivery.runner.Runner"),
        ("hardwatt.delivery.flux_off", "hardwatt.delivery.flux.flux_off"),
        ("hardwatt.engine.arm", "hardwatt.experiment.arm"),
        ("hardwatt.engine.arm.Bench", "hardwatt.experiment.arm.RunContext"),
        ("hardwatt.errors", "hardwatt.core.errors"),
        ("self.bench", "self.context"),
    ):
        assert caught.value.message.count(f" {former} is called {today} now") == 1
    file = root / "experiments/arms/push.py"
    assert caught.value.message.startswith(f"{file}: ")
    assert caught.value.hint == f"mend {file} and run the command again"


def test_such_a_study_hides_no_other(tmp_path: Path) -> None:
    listed = study_texts.listed(lab_in(tmp_path, checkout(tmp_path, ARM)))
    assert "self.bench is called self.context now" in listed["push-vs-pull"]
    assert "cannot be read" not in listed["off"]


def test_the_arms_that_are_shipped_use_todays_names() -> None:
    for file in (ROOT / "experiments/arms").glob("*.py"):
        assert former_names.in_arm(file.read_text()) == []


def test_an_arm_that_is_no_python_is_left_to_whoever_loads_it() -> None:
    assert former_names.in_arm("def (") == []
