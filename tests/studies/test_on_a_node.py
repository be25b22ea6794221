"""Every study with --quick on the embedded node, and the two arms' end state: about an hour on two cores."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.config.settings import ROOT
from hardwatt.experiment.plan.run_table import Row
from hardwatt.experiment.plan.study_file import Study, list_studies, load_study
from hardwatt.experiment.run.journal import Journal
from hardwatt.experiment.run.window import Window, deliver_first, deliveries, measure, push_first
from hardwatt.experiment.testbed import interface
from hardwatt.experiment.testbed.kubernetes_testbed import open_testbed
from hardwatt.experiment.testbed.rollouts import REVISION
from tests.e2e.support import Story
from tests.studies.figures import rows, table

pytestmark = [pytest.mark.e2e, pytest.mark.long]

NOT_HERE = {"control-kepler": ("kepler", "proc_stat node")}
"""Studies whose parts the embedded node cannot have, and what is named then."""
DELIVER_NOTHING = {"none", "suspended", "nobody", "ci"}
TABLE: list[str] = []


@pytest.fixture(scope="module", autouse=True)
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Print all figures of the pass at its end."""
    yield
    text = table(TABLE)
    (tmp_path_factory.getbasetemp() / "studies.md").write_text(text)
    print(f"\n{text}")


@pytest.mark.parametrize("name", sorted(set(list_studies(ROOT)) - set(NOT_HERE)))
def test_a_study_ends_in_a_bundle_that_verifies(node: Story, name: str) -> None:
    study = load_study(ROOT, name)
    done = node.invoke("experiment.run", name, "--quick", timeout=1500)
    report = Path(done.stdout.split()[-1])
    assert report.stat().st_size > 10_000
    found = Bundle.open(report.parent.parent)
    found.verify()
    results = json.loads((found.path / "results/results.json").read_text())
    TABLE.extend(rows(name, results))
    runs = [run for run in found.runs if run.status == "done"]
    assert {run.arm for run in runs} == set(study.arms)
    for run in runs:
        if study.trace.kind == "commits" and not study.trace.may_coalesce:
            assert run.ready == (0 if run.arm in DELIVER_NOTHING else run.commits), run
        if study.trace.kind == "drifts" and run.arm == "nobody":
            assert run.ready == 0
    left = node.invoke("experiment.status").stdout
    assert "to be put back" not in left


@pytest.mark.parametrize("name", sorted(NOT_HERE))
def test_a_study_whose_parts_are_not_there_is_refused_before_anything_runs(node: Story, name: str) -> None:
    done = node.invoke("experiment.run", name, "--quick", check=False)
    assert done.returncode == 1
    assert all(part in done.stderr for part in NOT_HERE[name])
    assert not list(Path(node.lab.results).glob(f"{name}-*"))


def spaced(count: int, apart: float, interval: int) -> Study:
    """Return push-vs-pull with ``count`` commits ``apart`` seconds apart, and Flux that looks every ``interval``."""
    study = load_study(ROOT, "push-vs-pull")
    window = 2 + (count - 1) * apart + interval + 25
    return study.model_copy(
        update={
            "estimand": study.estimand.model_copy(update={"window_seconds": window}),
            "flux": study.flux.model_copy(update={"interval_seconds": interval}),
            "timing": study.timing.model_copy(update={"rollout_seconds": 20.0}),
        }
    )


@dataclasses.dataclass(frozen=True)
class Seen:
    """What one arm did with a trace, by the experiment and by the cluster itself."""

    window: Window
    deployment: dict[str, Any]
    rolled_out: set[str]
    """Revisions that have a ReplicaSet: the cluster's own record of what was delivered to it."""


def deliver(node: Story, arm: str, study: Study, offsets: tuple[float, ...]) -> Seen:
    """Give a trace to one arm, as an experiment does it, and look at the cluster at the end of the window."""
    row = Row(run_id="same", block=1, position=0, arm=arm, phase_seconds=0.0, offsets=offsets)
    with node.lab.lock("a test"), open_testbed(node.lab) as testbed:
        journal = Journal.load(node.lab.dir / "experiment.json")
        assert journal is not None
        with testbed.quiet(study, journal):
            try:
                one = testbed.arm(study, row, journal)
                with testbed.rollouts(study) as rollouts:
                    first = push_first(testbed, study, row)
                    with one.prepare():
                        deliver_first(testbed, study, row, one, rollouts, first)
                        window = measure(testbed, study, row, one, rollouts)
                        return Seen(window, *_state(testbed, study))
            finally:
                testbed.reset(study)


def _state(testbed: interface.Testbed, study: Study) -> tuple[dict[str, Any], set[str]]:
    """Return what the application is, without what names who made it or when, and its revisions' ReplicaSets."""
    space = study.workload.namespace
    found = json.loads(json.dumps(testbed.cluster.get("apps/v1", "Deployment", space, study.workload.app)))
    labels = {key: value for key, value in found["metadata"]["labels"].items() if "toolkit.fluxcd.io" not in key}
    spec = found["spec"]
    sets = testbed.cluster.list("apps/v1", "ReplicaSet", space)
    return {"labels": labels, "spec": spec}, {one["metadata"]["annotations"][REVISION] for one in sets}


def test_push_and_pull_end_in_the_same_state_for_the_same_trace(node: Story) -> None:
    study = spaced(2, 16, 5)
    push, pull = (deliver(node, arm, study, (2.0, 18.0)) for arm in ("push", "pull"))
    assert push.deployment == pull.deployment
    assert push.deployment["spec"]["template"]["metadata"]["annotations"][REVISION] == "same.2"
    for one in (push, pull):
        assert [found.status for found in deliveries(one.window, "same")] == ["ready", "ready"]
        assert one.rolled_out == {"same.0", "same.1", "same.2"}


def test_revisions_are_counted_right_when_commits_are_closer_than_the_interval(node: Story) -> None:
    offsets = (2.0, 4.0, 6.0, 8.0, 10.0)
    study = spaced(len(offsets), 2, 15)
    seen = deliver(node, "pull", study, offsets)
    found = deliveries(seen.window, "same")
    ready = [one.revision for one in found if one.ready_ms is not None]
    assert found[-1].status == "ready"
    assert set(ready) <= set(seen.window.seen)
    assert set(seen.window.seen) == seen.rolled_out, "the watch and the cluster's own ReplicaSets differ"
    assert len(ready) < len(offsets), "commits 2 s apart, and Flux looks every 15 s: not each is delivered by itself"
    assert all(one.status == "coalesced" for one in found if one.ready_ms is None)
    assert [one.status for one in found].count("coalesced") == len(offsets) - len(ready)


def test_the_names_of_2022_and_of_today_tell_of_controllers_at_rest(node: Story) -> None:
    """The talk's own query, by its name of then, and the same by raw samples, over the lab's Flux at rest."""
    then = node.invoke("energy.query", "namespace-sum", "--as-json").stdout
    now = node.invoke("energy.query", "namespace-sum", "--last", "60s", "--as-json").stdout
    for text in (then, now):
        assert json.loads(text)
