"""``kill -9`` of ``lab.up`` at every step of its list: the next run goes on, and ends in "No changes".

One lab takes all the kills, so each run starts from what the killed ones left. Three steps, drawn by
the same seed, are killed in ``make test`` too (tests/e2e/test_story.py).
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hardwatt.cluster import status as cluster_status
from hardwatt.config.lab import open_lab
from hardwatt.config.settings import default_name
from hardwatt.provision import runner
from tests.deploys import killing
from tests.deploys.conftest import ROOT
from tests.e2e.support import Story

AUTHORITY = "test ! -e /etc/hardwatt/kubeadm.done || sha256sum /etc/kubernetes/pki/ca.crt"


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Story]:
    if os.geteuid() != 0:
        pytest.fail("the embedded node needs root: run the tests as root, or with sudo")
    config = tmp_path / "lab.toml"
    config.write_text(f'machine = "embedded"\nresults = "{tmp_path}/results"\n')
    monkeypatch.setenv("HARDWATT_CONFIG", str(config))
    monkeypatch.setenv("HARDWATT_LAB", "killed-" + default_name().removeprefix("lab-"))
    made = Story(open_lab(), dict(os.environ))
    made.invoke("lab.down", "--yes")
    yield made
    made.invoke("lab.down", "--yes")


def test_every_step_has_a_title_of_its_own_to_be_killed_at() -> None:
    """Steps and parts are read from the lists themselves, so one that is added is killed too."""
    every = [killing.title_of(name) for name in runner.steps(ROOT)]
    assert set(killing.OWN_KERNEL) < set(every)
    assert len(killing.titles()) == len(set(killing.titles())) >= 18
    assert killing.NODE in killing.titles()
    assert killing.drawn(3) == killing.drawn(3)
    assert len(set(killing.drawn(3))) == 3


@pytest.mark.e2e
@pytest.mark.long
def test_a_lab_that_was_killed_at_every_step_ends_ready_and_unchanged(story: Story, tmp_path: Path) -> None:
    chance = random.Random(killing.SEED)
    authorities = set()
    for number, title in enumerate(killing.titles()):
        log = tmp_path / f"{number}.log"
        killing.kill_at(story.start("lab.up", log=log), log, title, chance.uniform(0, killing.LATEST))
        if number > 1:  # there is a machine
            with story.node() as node:
                authorities |= {node.run(AUTHORITY).stdout} - {""}
    story.invoke("lab.up")
    with story.node() as node:
        assert authorities | {node.run(AUTHORITY).stdout} == authorities
    assert len(authorities) == 1
    status = cluster_status.read(story.lab)
    assert list(status.nodes.values()) == [True]
    assert "No changes" in story.invoke("lab.up").stderr
    assert "No changes" in story.invoke("lab.plan").stderr
