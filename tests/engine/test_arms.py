"""What the arms ask of a cluster: images by digest, keys in Secrets alone, rights in one namespace alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from hardwatt.engine.arm import Bench, Commit, Git, load_arm
from hardwatt.engine.study import Study
from hardwatt.engine.undo import Changes, Undo
from hardwatt.errors import LabError
from hardwatt.settings import ROOT
from tests.engine.simulated import Disk, SimCluster

FLUX_KEY, RUNNER_KEY = "-----FLUX KEY-----", "-----RUNNER KEY-----"


class Pages:
    """A journal in memory."""

    def __init__(self) -> None:
        self.undo: list[Undo] = []

    def push(self, undo: Undo) -> None:
        self.undo.append(undo)

    def pop(self, undo: Undo) -> None:
        self.undo.remove(undo)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "cluster.json")


@pytest.fixture
def log() -> Pages:
    return Pages()


@pytest.fixture
def bench(study: Study, disk: Disk, log: Pages) -> Bench:
    git = Git("ssh://git@node:2222/srv/git/workload.git", "main", "app", "[node]:2222 ssh-ed25519 AAAA\n",
              {"flux": FLUX_KEY, "runner": RUNNER_KEY})  # fmt: skip
    images = {"app": "hardwatt.dev/app@sha256:" + "a" * 64, "runner": "hardwatt.dev/runner@sha256:" + "b" * 64}
    spaces = {"workload": "workload", "ci": "ci", "flux": "flux-system"}
    return Bench(study, "p001-1-push", Changes(SimCluster(disk), log), git, images, spaces)


def arm(name: str, bench: Bench) -> Any:
    return load_arm(ROOT, name)(bench)


def calls(bench: Bench) -> list[str]:
    cluster = bench.changes.cluster
    assert isinstance(cluster, SimCluster)
    return cluster.calls


def test_push_switches_flux_off_kustomize_controller_first(bench: Bench, disk: Disk, log: Pages) -> None:
    with arm("push", bench).prepare():
        assert calls(bench)[:2] == ["scale kustomize-controller 0", "scale source-controller 0"]
        assert [(undo.name, undo.replicas) for undo in log.undo[:2]] == [
            ("kustomize-controller", 1),
            ("source-controller", 1),
        ]
    assert set(disk.data["replicas"].values()) == {1}
    assert calls(bench)[-2:] == ["scale source-controller 1", "scale kustomize-controller 1"]
    assert disk.data["objects"] == {}
    assert log.undo == []


def test_push_starts_one_job_a_commit_and_removes_it(bench: Bench, disk: Disk) -> None:
    push = arm("push", bench)
    with push.prepare():
        for index in range(-1, 3):
            push.deliver(Commit(index, f"r{index}", f"sha{index}"))
        jobs = sorted(key for key in disk.data["objects"] if key.startswith("Job"))
        assert jobs == [f"Job ci/runner-p001-1-push-{number}" for number in range(4)]
    assert disk.data["objects"] == {}


def test_the_runner_job_has_its_image_by_digest_and_its_key_from_a_secret(bench: Bench) -> None:
    push = arm("push", bench)
    job = push.job(Commit(0, "r1", "0123abcd"))
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["image"] == bench.images["runner"]
    assert {one["name"]: one["value"] for one in container["env"]}["COMMIT"] == "0123abcd"
    assert job["spec"]["backoffLimit"] == 0
    assert pod["serviceAccountName"] == push.account()["metadata"]["name"]
    assert pod["volumes"][1]["secret"] == {"secretName": push.secret()["metadata"]["name"], "defaultMode": 0o400}
    assert pod["securityContext"]["runAsNonRoot"]
    assert "StrictHostKeyChecking=yes" in json.dumps(container["env"])


def test_keys_are_in_secrets_and_nowhere_else(bench: Bench) -> None:
    push, pull = arm("push", bench), arm("pull", bench)
    others = [push.job(Commit(0, "r1", "x")), push.account(), push.role(), push.binding()]
    others += [pull.repository(), pull.kustomization()]
    assert RUNNER_KEY not in json.dumps(others)
    assert FLUX_KEY not in json.dumps(others)
    assert push.secret()["stringData"] == {"identity": RUNNER_KEY, "known_hosts": bench.git.known_hosts}
    assert pull.secret()["stringData"] == {"identity": FLUX_KEY, "known_hosts": bench.git.known_hosts}
    assert FLUX_KEY not in repr(bench)


def test_the_runner_has_rights_in_the_workloads_namespace_alone(bench: Bench) -> None:
    push = arm("push", bench)
    assert push.role()["kind"] == "Role"
    assert push.role()["metadata"]["namespace"] == push.binding()["metadata"]["namespace"] == "workload"
    assert push.binding()["subjects"][0]["namespace"] == push.account()["metadata"]["namespace"] == "ci"
    assert all("*" not in rule["verbs"] + rule["resources"] for rule in push.role()["rules"])


def test_pull_looks_at_the_studys_interval_and_does_not_wait_for_the_rollout(bench: Bench) -> None:
    pull = arm("pull", bench)
    flux = bench.study.flux
    assert pull.repository()["spec"]["interval"] == f"{flux.interval_seconds}s"
    assert pull.kustomization()["spec"]["interval"] == f"{flux.apply_interval_seconds}s"
    assert pull.kustomization()["spec"]["wait"] is False
    assert pull.repository()["spec"]["secretRef"]["name"] == pull.secret()["metadata"]["name"]


def test_pull_starts_flux_and_takes_its_objects_away_while_flux_still_runs(bench: Bench, disk: Disk) -> None:
    disk.data["replicas"] = dict.fromkeys(disk.data["replicas"], 0)
    pull = arm("pull", bench)
    with pull.prepare():
        pull.deliver(Commit(0, "r1", "x"))
        assert set(disk.data["replicas"].values()) == {1}
        assert {key.split()[0] for key in disk.data["objects"]} == {"Secret", "GitRepository", "Kustomization"}
    assert set(disk.data["replicas"].values()) == {0}
    assert disk.data["objects"] == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("class Push: ...", "no class Arm"),
        ("from hardwatt.engine.arm import BaseArm\nclass Arm(BaseArm):\n    def prepare(self): ...", "lacks deliver"),
    ],
)
def test_an_arm_that_lacks_something_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    folder = tmp_path / "experiments/arms"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text(text)
    with pytest.raises(LabError, match=complaint):
        load_arm(tmp_path, "mine")


def test_an_unknown_arm_lists_the_known_ones() -> None:
    with pytest.raises(LabError) as error:
        load_arm(ROOT, "pul")
    assert "pull, push" in error.value.hint
