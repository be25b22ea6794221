"""From nothing to a measured answer and back to nothing, as a user would."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hardwatt.bundle.reader import Bundle
from hardwatt.cluster import client as cluster_client
from hardwatt.cluster import status as cluster_status
from hardwatt.core.errors import LabError
from hardwatt.core.wait import wait
from hardwatt.machines import choice
from tests.deploys import killing
from tests.e2e.support import INVOKE, Story, cut_off, kill_session

pytestmark = pytest.mark.e2e

EXPECTED_PODS = {
    "kube-system": ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"),
    "flux-system": ("source-controller", "kustomize-controller"),
    "monitoring": ("prometheus-k8s-0", "node-exporter"),
}


def test_a_plan_of_nothing_makes_nothing(story: Story) -> None:
    done = story.invoke("lab.plan")
    assert "would be started" in done.stderr
    assert not (story.lab.dir / "machine.json").exists()
    assert not story.differences()


def test_a_plan_of_a_bare_node_changes_nothing(story: Story) -> None:
    story.invoke("lab.up", "--only", "mirror", "--only", "machine")
    listing = "find / -xdev -newer /etc/hostname -type f -not -path '/proc/*' -not -path '/var/log/*' | sort"
    with story.node() as node:
        before = node.run(listing).stdout
    done = story.invoke("lab.plan")
    assert "kubeadm" in done.stderr
    assert "No changes" not in done.stderr
    with node:
        assert not [
            line for line in node.run(listing).stdout.splitlines()
            if line not in before.splitlines() and not line.startswith(("/tmp/", "/run/", "/var/lib/systemd/"))
        ]  # fmt: skip


def test_a_taken_port_and_a_foreign_kubelet_are_found_before_anything_is_changed(story: Story) -> None:
    listen = "import socket, time; s = socket.create_server(('', 6443)); time.sleep(600)"
    with story.node() as ssh:
        ssh.run(f'systemd-run --quiet --unit=planted python3 -c "{listen}"; mkdir -p /etc/kubernetes')
        ssh.put(b"another cluster's", "/etc/kubernetes/kubelet.conf")
        try:
            found = story.invoke("lab.check", "--as-json", check=False)
        finally:
            ssh.run("systemctl stop planted.service; rm -r /etc/kubernetes")
    assert found.returncode == 1
    problems = {row["name"]: row for row in json.loads(found.stdout) if row["severity"] == "error"}
    assert set(problems) == {"port-6443", "foreign-cluster"}
    assert problems["port-6443"]["remedy"] == "stop python3 on the node"
    assert "kubeadm reset" in problems["foreign-cluster"]["remedy"]


def test_lab_up_killed_at_three_drawn_steps_goes_on(story: Story, tmp_path: Path) -> None:
    """Which three, a recorded seed says; every step is killed in the long test."""
    chance = random.Random(killing.SEED)
    for title in killing.drawn(3):
        log = tmp_path / f"{title}.log"
        killing.kill_at(story.start("lab.up", log=log), log, title, chance.uniform(0, killing.LATEST))


def test_lab_up_interrupted_and_killed_after_kubeadm_init_goes_on(story: Story, tmp_path: Path) -> None:
    """Ctrl-C, then kill -9, between ``kubeadm init`` and the kubeconfig: nothing that was done is done twice."""
    authorities = []
    for number in (signal.SIGINT, signal.SIGKILL):
        log = tmp_path / f"up-{number}.log"
        stop_after_init(story, log, number)
        assert not story.lab.kubeconfig.exists()
        with story.node() as node:
            authorities.append(node.run("sha256sum /etc/kubernetes/pki/ca.crt").stdout)
    assert "interrupted; the same command goes on from here" in (tmp_path / f"up-{signal.SIGINT}.log").read_text()
    story.invoke("lab.up")
    with story.node() as node:
        authorities.append(node.run("sha256sum /etc/kubernetes/pki/ca.crt").stdout)
    assert len(set(authorities)) == 1


def stop_after_init(story: Story, log: Path, number: int) -> None:
    """Run ``lab.up`` and send it a signal once the node is being provisioned and ``kubeadm init`` has begun there."""
    process = story.start("lab.up", log=log)

    def initialised() -> bool:
        try:
            with story.node() as node:
                begun = node.run("test -e /etc/kubernetes/admin.conf", check=False).returncode == 0
        except LabError:
            return False
        return begun and "Provision the node" in log.read_text()

    def ended(_: bool) -> str | None:
        return f"lab.up ended by itself: {log.read_text()[-3000:]}" if process.poll() is not None else None

    wait(initialised, bool, what="kubeadm init", timeout=600, error=ended)
    kill_session(process, number)


def test_the_lab_is_up(story: Story) -> None:
    status = cluster_status.read(story.lab)
    assert list(status.nodes.values()) == [True]
    for namespace, names in EXPECTED_PODS.items():
        for name in names:
            pods = [pod for pod in status.pods if pod.namespace == namespace and pod.name.startswith(name)]
            assert pods, f"no pod {namespace}/{name}"
            assert all(pod.phase == "Running" and pod.ready for pod in pods)
    assert story.lab.kubeconfig.stat().st_mode & 0o777 == 0o600


def test_every_pod_runs_the_image_of_the_mirror(story: Story) -> None:
    from hardwatt.mirror import fill

    digests = {image.digest for image in fill.load(story.lab).images}
    for pod in story.pods():
        for container, image in pod.images.items():
            assert image.rpartition("@")[2] in digests, f"{pod.namespace}/{pod.name} {container}: {image}"


def fingerprint(story: Story) -> dict[str, object]:
    """What a second ``lab.up`` must leave alone: git's HEAD, generations, pods and their restarts."""
    from kubernetes import client

    with story.node() as node:
        head = node.run("git --git-dir=/srv/git/lab.git -c safe.directory='*' rev-parse main").stdout
    with cluster_client.connect(story.lab) as api:
        apps = client.AppsV1Api(api)
        objects: list[Any] = [
            *apps.list_deployment_for_all_namespaces().items,
            *apps.list_stateful_set_for_all_namespaces().items,
            *apps.list_daemon_set_for_all_namespaces().items,
        ]
        generations = {f"{o.metadata.namespace}/{o.metadata.name}": o.metadata.generation for o in objects}
    return {"head": head, "generations": generations, "pods": {p.uid: (p.name, p.restarts) for p in story.pods()}}


def test_a_second_up_changes_nothing(story: Story) -> None:
    before = fingerprint(story)
    done = story.invoke("lab.up")
    assert "No changes" in done.stderr
    assert "changed" not in done.stderr
    assert fingerprint(story) == before


def test_status_says_that_all_is_well(story: Story) -> None:
    story.invoke("lab.status")


def test_a_plan_of_the_finished_lab_says_no_changes(story: Story) -> None:
    assert "No changes" in story.invoke("lab.plan").stderr


def test_a_second_command_is_refused_while_one_runs(story: Story) -> None:
    with story.lab.lock("a test"):
        done = story.invoke("lab.up", check=False)
    assert done.returncode == 1
    assert "is in use" in done.stderr


def test_an_unknown_study_and_an_unknown_step_list_the_right_ones(story: Story) -> None:
    study = story.invoke("experiment.run", "push-vs-pul", check=False)
    assert study.returncode == 1
    assert "push-vs-pull" in study.stderr
    step = story.invoke("lab.up", "--only", "nod", check=False)
    assert step.returncode == 1
    assert "node" in step.stderr


def test_prometheus_answers_on_localhost(story: Story) -> None:
    import urllib.request

    url = story.invoke("lab.forward", "prometheus", "--port", "19090").stdout.split()[-1]
    with urllib.request.urlopen(f"{url}/api/v1/query?query=up", timeout=10) as reply:
        found = json.load(reply)["data"]["result"]
    assert {item["metric"]["job"]: item["value"][1] for item in found}["meter"] == "1"
    story.invoke("lab.forward", "prometheus", "--stop")
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{url}/-/ready", timeout=5)


BURN = "sleep 30; (ulimit -t 10; while :; do :; done); sleep 600"


def test_ten_cpu_seconds_in_a_window_are_ten_cpu_seconds(story: Story) -> None:
    """A pod that burns 10 CPU-seconds raises the window's figure by 10 +- 1, against the windows around it."""
    from kubernetes import client

    from hardwatt.experiment.run.gate import node_cpu
    from hardwatt.experiment.testbed.kubernetes_testbed import open_testbed
    from hardwatt.mirror import fill

    image = fill.load(story.lab).image("hardwatt.dev/runner").reference
    container = client.V1Container(name="burn", image=image, command=["sh", "-c", BURN])
    spec = client.V1PodSpec(containers=[container], restart_policy="Never", termination_grace_period_seconds=0)
    pod = client.V1Pod(metadata=client.V1ObjectMeta(name="burn"), spec=spec)
    with cluster_client.connect(story.lab) as api, open_testbed(story.lab) as testbed:
        core: Any = client.CoreV1Api(api)
        core.create_namespaced_pod("default", pod)
        try:
            wait(
                lambda: core.read_namespaced_pod("burn", "default").status.phase,
                lambda phase: phase == "Running",
                what="burning pod",
                timeout=60,
                delay=0.5,
            )
            readings = []
            for edge in range(4):
                if edge:
                    testbed.clock.sleep(24)
                readings.append(node_cpu(testbed.edge("burn", "start")))
        finally:
            core.delete_namespaced_pod("burn", "default")
    windows = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(readings)]
    quiet = sum(cpu for _, cpu in (windows[0], windows[2])) / sum(length for length, _ in (windows[0], windows[2]))
    assert windows[1][1] - quiet * windows[1][0] == pytest.approx(10, abs=1), windows


@pytest.fixture(scope="module")
def bundle(story: Story) -> Path:
    """One experiment, interrupted by kill -9 in the middle of a window and then resumed."""
    log = story.lab.dir / "killed-experiment.log"
    log.write_bytes(b"")
    process = story.start("experiment.run", "push-vs-pull", log=log)

    def in_a_window(text: str) -> bool:
        return bool(text) and "window of" in text.splitlines()[-1]

    def ended(_: str) -> str | None:
        return f"it ended by itself: {log.read_text()[-3000:]}" if process.poll() is not None else None

    wait(log.read_text, in_a_window, what="first window", timeout=300, error=ended)
    kill_session(process)
    done = story.invoke("experiment.resume", timeout=1500)
    report = Path(done.stdout.split()[-1])
    assert report.suffix == ".html"
    return report.parent.parent


def test_the_experiment_gives_an_answer(bundle: Path) -> None:
    results = json.loads((bundle / "results" / "results.json").read_text())
    assert results["n"]["value"] >= 3


def test_every_commit_became_ready_and_each_job_fetched_once(story: Story, bundle: Path) -> None:
    found = Bundle.open(bundle)
    found.verify()
    failed = [run for run in found.runs if run.status == "failed"]
    assert [run.reason for run in failed] == ["killed in mid-run"]
    done = [run for run in found.runs if run.status == "done"]
    assert {(run.commits, run.ready) for run in done} == {(3, 3)}
    for run in done:
        fetches = json.loads((bundle / f"log/{run.run_id}.json").read_text())["fetches"]
        assert sum(one["key"] == "runner" for one in fetches) == (run.commits if run.arm == "push" else 0)


def test_after_the_experiment_nothing_of_it_is_left_in_the_cluster(story: Story) -> None:
    from kubernetes import client

    assert "to be put back" not in story.invoke("experiment.status").stdout
    with cluster_client.connect(story.lab) as api:
        core: Any = client.CoreV1Api(api)
        apps: Any = client.AppsV1Api(api)
        spaces = {space.metadata.name for space in core.list_namespace().items}
        controllers = apps.list_namespaced_deployment("flux-system").items
    assert not spaces & {"ci", "workload"}
    assert {one.status.available_replicas for one in controllers} == {1}


def test_the_bundle_gives_the_same_answer_anywhere(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / bundle.name
    shutil.copytree(bundle, copy, ignore=shutil.ignore_patterns("results"))
    env = {key: value for key, value in os.environ.items() if key not in {"HARDWATT_LAB", "HARDWATT_CONFIG"}}
    subprocess.run([INVOKE, "experiment.report", str(copy)], check=True, env=env, cwd=Path(INVOKE).parents[2])
    again = (copy / "results" / "results.json").read_bytes()
    assert again == (bundle / "results" / "results.json").read_bytes()


def test_a_dead_machine_comes_back(story: Story) -> None:
    record = json.loads((story.lab.dir / "machine.json").read_text())
    os.kill(record["process"]["pid"], signal.SIGKILL)
    cut_off(story, "does not run", choice.machine_for(story.lab).endpoint().address)
    story.invoke("lab.up")
    test_the_lab_is_up(story)


def test_down_leaves_nothing_behind(story: Story) -> None:
    story.invoke("lab.down", "--yes")
    assert not story.lab.kubeconfig.exists()
    found = story.differences()
    assert not found, "\n".join(map(str, found))
