"""A mistyped name: the answer names the right one."""

from pathlib import Path

import pytest

from hardwatt.cli import console
from hardwatt.cli.meter import meter_model
from hardwatt.cluster import port_forward
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.core.errors import LabError
from hardwatt.core.nearest import corrected, did_you_mean, nearest
from hardwatt.experiment.arm import load_arm
from hardwatt.lifecycle import up
from hardwatt.mirror import fill
from tests.cli.invoked import ROOT, nothing_is_opened, run

__all__ = ["nothing_is_opened"]


@pytest.mark.parametrize(
    ("argv", "refused", "near"),
    [
        ("lab.upp", "there is no task lab.upp", "lab.up"),
        ("lab.statsu", "there is no task lab.statsu", "lab.status"),
        ("machine.start", "there is no task machine.start", "lab.machine.start"),
        ("experiment.rnu push-vs-pull", "there is no task experiment.rnu", "experiment.run"),
        ("quickstart", "there is no task quickstart", "lab.quickstart"),
        ("LAB.UP", "there is no task LAB.UP", "lab.up"),
        ("lab.check lab.upp", "there is no task lab.upp", "lab.up"),
        ("lab.up --onyl=node", "lab.up has no option --onyl", "--only"),
        ("lab.down --keep-package", "lab.down has no option --keep-package", "--keep-packages"),
        ("experiment.run push-vs-pull --piars 3", "experiment.run has no option --piars", "--pairs"),
        ("experiment.run --piars 3 push-vs-pull", "experiment.run has no option --piars", "--pairs"),
        ("mirror.list --as_json", "mirror.list has no option --as_json", "--as-json"),
        ("--lits", "invoke has no option --lits", "--list"),
    ],
)
def test_a_mistyped_task_or_option_is_wrong_usage_that_names_the_nearest(argv: str, refused: str, near: str) -> None:
    code, out, err = run(*argv.split())
    assert (code, out) == (2, "")
    assert f"{refused}; did you mean {near}?\n  next: invoke " in err


@pytest.mark.parametrize("argv", ["qqqqqq", "lab.up --qqqqqq", "lab.up -Z", "--qqqqqq", "lab.down --yes qqqqqq"])
def test_nothing_is_suggested_where_nothing_is_near(argv: str) -> None:
    code, _, err = run(*argv.split())
    assert code == 2
    assert "did you mean" not in err
    assert "next: invoke " in err


def test_a_mistyped_arm_names_the_nearest() -> None:
    with pytest.raises(LabError, match=r"there is no arm 'pusch'.*did you mean 'push'\?"):
        load_arm(ROOT, "pusch")


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("upp", ("lab.up", "lab.down"), "lab.up"),
        ("status", ("lab.up", "lab.status"), "lab.status"),
        ("Node", ("node", "nodes"), "node"),
        ("ab", ("ac", "ad"), "ac"),
        ("qqq", ("lab.up",), ""),
        ("x", (), ""),
    ],
)
def test_the_nearest_name_is_the_first_of_the_most_alike(name: str, known: tuple[str, ...], expected: str) -> None:
    assert nearest(name, known) == expected


def test_where_none_is_near_all_are_listed() -> None:
    assert did_you_mean("qqq", ["a", "b"], "steps") == "steps: a, b"
    assert did_you_mean("qqq", []) == "known: none"
    assert did_you_mean("upp", ["up", "down"]) == "did you mean 'up'?"


def test_the_next_command_has_the_nearest_name_or_is_the_help() -> None:
    assert corrected("invoke lab.up --only", "nod", ["mirror", "node"]) == "invoke lab.up --only node"
    assert corrected("invoke lab.up --only", "qqq", ["mirror", "node"]) == "invoke lab.up --help"


def test_a_mistyped_value_is_refused_with_a_command_that_is_accepted(tmp_path: Path) -> None:
    lab = Lab(Settings(name="t1"), tmp_path, tmp_path)
    for refused, expected in (
        (lambda: up.select(["nod"]), "invoke lab.up --only node"),
        (lambda: fill.fill(lab, only="gitop"), "invoke mirror.fill --only gitops"),
        (lambda: port_forward.default_port(lab, "grafna"), "invoke lab.forward grafana"),
        (lambda: meter_model.function(lab, "chekc"), "invoke meter.model check"),
    ):
        with pytest.raises(LabError, match="did you mean") as caught:
            refused()
        assert caught.value.hint == expected
        assert console.read(expected.split()[1:])[0].name == expected.split()[1]
