"""Three kills at random moments of an experiment on a real cluster: no run is lost or counted twice.

The simulated testbed has thirty (``tests/experiment/test_run.py``); here the cluster, its API and the git server are
real.
"""

import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.bundle.writer import Writer
from hardwatt.cluster import client as cluster_client
from hardwatt.core.wait import wait
from hardwatt.experiment.run.journal import JOURNAL, ExperimentState, Journal
from hardwatt.experiment.testbed.interface import NO_JITTER
from tests.e2e.support import Story, kill_session

pytestmark = [pytest.mark.e2e, pytest.mark.long]

KILLS, SPAN, SEED = 3, 60.0, 13


@pytest.fixture(scope="module")
def up(story: Story) -> Iterator[Story]:
    story.invoke("lab.up")
    yield story
    story.invoke("lab.forward", "prometheus", "--stop")


def state(story: Story) -> ExperimentState:
    found = Journal.load(story.lab.dir / JOURNAL)
    assert found is not None
    return found.state


def killed(story: Story, argv: tuple[str, ...], seconds: float, log: Path) -> list[Run]:
    """Start a command, kill it so many seconds after its first run began; return the runs that are recorded."""
    log.write_text("")
    process = story.start(*argv, log=log)

    def ended(_: str) -> str | None:
        return f"it ended by itself: {log.read_text()[-3000:]}" if process.poll() is not None else None

    text = wait(log.read_text, lambda text: " to do, about " in text, what="first run", timeout=300, error=ended)
    if argv[0] == "experiment.run":
        elsewhere(story, text)
    until = time.monotonic() + seconds
    wait(lambda: time.monotonic(), lambda now: now >= until, what="moment of the kill", timeout=SPAN + 60, delay=0.2)
    kill_session(process)
    print(f"killed after {seconds:.1f} s: {log.read_text().splitlines()[-1]}")
    return Writer(Path(state(story).bundle)).runs


def elsewhere(story: Story, text: str) -> None:
    """What another terminal sees: the status, and that a second run at once is refused."""
    said = story.invoke("experiment.status").stdout
    assert re.search(r"now: p\d+-\d-\w+: .+, for \d+ s \(process \d+: experiment\.run\)", said)
    assert re.search(r"left: \d+ runs, about", said)
    refused = story.invoke("experiment.run", "push-vs-pull", check=False)
    assert refused.returncode == 1
    assert re.search(r"is in use: process \d+: experiment\.run", refused.stderr)
    assert re.search(r"(INFO|WARN) +swap: ", text)


def test_three_kills_lose_nothing_and_count_nothing_twice(up: Story, tmp_path: Path) -> None:
    draw = random.Random(SEED)
    argv: tuple[str, ...] = ("experiment.run", "push-vs-pull", "--pairs", "1", "--seed", "13")
    before: list[Run] = []
    for number in range(KILLS):
        runs = killed(up, argv, draw.uniform(0, SPAN), tmp_path / f"{number}.log")
        assert [run for run in before if run.status == "done"] == [
            run for run in runs if run in before and run.status == "done"
        ]
        assert "nothing runs now; invoke experiment.resume" in up.invoke("experiment.status").stdout
        argv, before = ("experiment.resume",), runs
    done = up.invoke("experiment.resume", timeout=1500)
    bundle = Bundle.open(Path(done.stdout.split()[-1]).parent.parent)
    bundle.verify()
    ids = [run.run_id for run in bundle.runs]
    assert len(ids) == len(set(ids))
    assert {run.reason for run in bundle.runs if run.status == "failed"} <= {"killed in mid-run"}
    kept = {run.run_id for run in bundle.runs if run.status == "done"}
    assert {run.run_id for run in before if run.status == "done"} <= kept
    assert {edge.run_id for edge in bundle.edges} == kept
    blocks = [run.block for run in bundle.runs if run.status == "done"]
    assert any(blocks.count(block) == 2 for block in blocks)
    assert len(json.loads((bundle.path / "log/resumed.json").read_text())) == KILLS
    assert_recorded(bundle)
    assert_put_back(up)


def assert_recorded(bundle: Bundle) -> None:
    """The manifest and the log say what the experiment saw."""
    names = {check.name for check in bundle.manifest.checks}
    assert names >= {"governor", "turbo", "smt", "swap", "timers", "load", "steal", "thermal", "RAPL filtering"}
    assert NO_JITTER in str(bundle.manifest.host["flux_interval_jitter"])
    baselines = json.loads((bundle.path / "log/baselines.json").read_text())
    assert baselines[-1]["place"] == "after"
    assert all(0 < one["cores"] < 64 for one in baselines if "cores" in one)


def assert_put_back(story: Story) -> None:
    """Flux runs as before, without the experiment's argument; nothing of the experiment is there."""
    from kubernetes import client

    with cluster_client.connect(story.lab) as api_client:
        apps: Any = client.AppsV1Api(api_client)
        core: Any = client.CoreV1Api(api_client)
        controllers = apps.list_namespaced_deployment("flux-system").items
        spaces = {space.metadata.name for space in core.list_namespace().items}
    assert all(NO_JITTER not in one.spec.template.spec.containers[0].args for one in controllers)
    assert {one.status.available_replicas for one in controllers} == {1}
    assert not spaces & {"ci", "workload"}
