"""What the arms ask of a cluster: images by digest, keys in Secrets alone, rights in one namespace alone."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hardwatt.cluster.changes import Changes, Undo, perform
from hardwatt.config.settings import ROOT
from hardwatt.core.errors import LabError
from hardwatt.delivery import monitoring
from hardwatt.delivery.buildbot import Buildbot
from hardwatt.delivery.burn import Burner
from hardwatt.delivery.flux import Flux
from hardwatt.delivery.runner import Runner
from hardwatt.experiment.arm import Commit, Git, RunContext, load_arm
from hardwatt.experiment.plan.study_model import ARMS, Study
from tests.experiment.simulated import PROMETHEUS_CONFIG

FLUX_KEY, RUNNER_KEY = "-----FLUX KEY-----", "-----RUNNER KEY-----"
CONTROLLERS = ("source-controller", "kustomize-controller")
LEVELS: Mapping[str, Mapping[str, Any]] = {
    "burn": {"pods": 2, "burn_seconds": 3},
    "ladder": {"loads": "0 0.5 2", "slot_seconds": 10},
    "kepler": {"kepler": False},
    "observer": {"prometheus": "off", "flux": True},
    "off": {"state": "on"},
    "pipeline": {"steps": "checkout build test", "flux": True},
    "reapply": {"reapply_seconds": 20},
}
"""A level for each factor that an arm reads."""


class Pages:
    """A journal in memory."""

    def __init__(self) -> None:
        self.undo: list[Undo] = []

    def push(self, undo: Undo) -> None:
        self.undo.append(undo)

    def pop(self, undo: Undo) -> None:
        self.undo.remove(undo)


class Objects:
    """A cluster of objects in a dictionary: everything is Ready at once, and what it is asked is written down."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.replicas = dict.fromkeys(CONTROLLERS, 1)
        self.stateful = {"prometheus-k8s": 1}
        self.config = PROMETHEUS_CONFIG
        self.calls: list[str] = []

    def apply(self, manifest: Mapping[str, Any]) -> None:
        meta = manifest["metadata"]
        self.calls.append(f"apply {manifest['kind']} {meta['name']}")
        if manifest["kind"] == "Kustomization":
            assert all(self.replicas.values()), "nobody would apply it"
        self.objects[f"{manifest['kind']} {meta['namespace']}/{meta['name']}"] = json.loads(json.dumps(manifest))

    def delete(self, api_version: str, kind: str, namespace: str, name: str) -> None:
        self.calls.append(f"delete {kind} {name}")
        del self.objects[f"{kind} {namespace}/{name}"]

    def delete_all(self, api_version: str, kind: str, namespace: str, selector: str) -> None:
        if kind == "Kustomization":
            assert all(self.replicas.values()), "a Kustomization has a finalizer: without its controller it stays"
        key, _, value = selector.partition("=")
        for name, found in list(self.objects.items()):
            if found["kind"] == kind and found["metadata"].get("labels", {}).get(key) == value:
                del self.objects[name]

    def get(self, api_version: str, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        if kind == "Deployment" and name in self.replicas:
            return {"metadata": {"name": name}, "spec": {"replicas": self.replicas[name]}}
        if kind == "StatefulSet":
            return {"metadata": {"name": name}, "spec": {"replicas": self.stateful[name]}}
        if kind == "ConfigMap" and name == "prometheus-config":
            return {"metadata": {"name": name}, "data": {"prometheus.yaml": self.config}}
        found = self.objects.get(f"{kind} {namespace}/{name}")
        ready = [{"type": kind, "status": "True"} for kind in ("Ready", "Available")]
        return found and {**found, "status": {"conditions": ready}}

    def list(self, api_version: str, kind: str, namespace: str = "") -> list[Mapping[str, Any]]:
        return [found for found in self.objects.values() if found["kind"] == kind]

    def scale(self, namespace: str, name: str, replicas: int, kind: str = "Deployment") -> None:
        self.calls.append(f"scale {name} {replicas}")
        (self.replicas if kind == "Deployment" else self.stateful)[name] = replicas

    def set_data(self, namespace: str, name: str, key: str, text: str) -> None:
        self.calls.append(f"set {key} of {name}")
        assert (namespace, name, key) == ("monitoring", "prometheus-config", "prometheus.yaml")
        self.config = text

    def suspend(self, api_version: str, kind: str, namespace: str, name: str, suspended: bool) -> None:
        raise AssertionError("arms suspend their own objects alone, by applying them")

    def post(self, namespace: str, service: str, port: int, path: str) -> None:
        self.calls.append(f"post {namespace}/{service}:{port}/{path}")

    def argument(self, namespace: str, name: str, old: str, new: str) -> None:
        raise AssertionError("arms leave the controllers' arguments alone")


@pytest.fixture
def log() -> Pages:
    return Pages()


@pytest.fixture
def cluster() -> Objects:
    return Objects()


@pytest.fixture
def context(study: Study, cluster: Objects, log: Pages) -> RunContext:
    git = Git("ssh://git@node:2222/srv/git/workload.git", "main", "app", "[node]:2222 ssh-ed25519 AAAA\n",
              {"flux": FLUX_KEY, "runner": RUNNER_KEY})  # fmt: skip
    images = {name: f"hardwatt.dev/{name}@sha256:{name[0] * 64}" for name in ("app", "runner", "buildbot")}
    spaces = {"workload": "workload", "ci": "ci", "flux": "flux-system"}
    return RunContext(study, "p001-1-push", Changes(cluster, log), git, images, spaces)


def arm(name: str, context: RunContext, **levels: Any) -> Any:
    return load_arm(ROOT, name)(dataclasses.replace(context, levels=levels or LEVELS.get(name, {})))


def kinds(cluster: Objects) -> set[str]:
    return {key.split()[0] for key in cluster.objects}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / ARMS).glob("*.py")))
def test_every_arm_delivers_settles_acts_and_leaves_nothing_behind(
    name: str, context: RunContext, cluster: Objects, log: Pages
) -> None:
    one = arm(name, context)
    with one.prepare():
        one.deliver(Commit(-1, "r0", "sha0"))
        one.settle()
        for action in one.actions():
            assert 0 <= action.seconds < context.study.estimand.window_seconds
            action.do()
        one.deliver(Commit(0, "r1", "sha1"))
    assert set(cluster.replicas.values()) == {1}
    left = {key for key in cluster.objects if "workload/app" not in key}  # the experiment removes the application
    assert left <= {"DaemonSet monitoring/kepler", "DaemonSet monitoring/node-exporter"}
    assert not any("spec" in cluster.objects[key] for key in left)
    assert (cluster.stateful, cluster.config) == ({"prometheus-k8s": 1}, PROMETHEUS_CONFIG)
    assert log.undo == []


def test_push_switches_flux_off_kustomize_controller_first(context: RunContext, cluster: Objects, log: Pages) -> None:
    with arm("push", context).prepare():
        assert cluster.calls[:2] == ["scale kustomize-controller 0", "scale source-controller 0"]
        assert [(undo.name, undo.replicas) for undo in log.undo[:2]] == [
            ("kustomize-controller", 1),
            ("source-controller", 1),
        ]
    assert cluster.calls[-2:] == ["scale source-controller 1", "scale kustomize-controller 1"]


def test_push_starts_one_job_a_commit(context: RunContext, cluster: Objects) -> None:
    push = arm("push", context)
    with push.prepare():
        for index in range(-1, 3):
            push.deliver(Commit(index, f"r{index}", f"sha{index}"))
        jobs = sorted(key for key in cluster.objects if key.startswith("Job"))
        assert jobs == [f"Job ci/runner-p001-1-push-{number}" for number in range(4)]


def test_the_runner_job_has_its_image_by_digest_and_its_key_from_a_secret(context: RunContext) -> None:
    runner = Runner(context)
    job = runner.job(Commit(0, "r1", "0123abcd"))
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["image"] == context.images["runner"]
    assert {one["name"]: one["value"] for one in container["env"]}["COMMIT"] == "0123abcd"
    assert job["spec"]["backoffLimit"] == 0
    assert pod["serviceAccountName"] == runner.account()["metadata"]["name"]
    assert pod["volumes"][1]["secret"] == {"secretName": runner.secret()["metadata"]["name"], "defaultMode": 0o400}
    assert pod["securityContext"]["runAsNonRoot"]
    assert "StrictHostKeyChecking=yes" in json.dumps(container["env"])


def test_keys_are_in_secrets_and_nowhere_else(context: RunContext) -> None:
    runner, flux, server = Runner(context), Flux(context), Buildbot(context)
    others = [runner.job(Commit(0, "r1", "x")), runner.account(), runner.role(), runner.binding()]
    others += [flux.repository(), flux.kustomization(), server.files(), server.service(), server.deployment()]
    for secret in (RUNNER_KEY, FLUX_KEY, server.secret()["stringData"]["password"]):
        assert secret not in json.dumps(others)
    assert runner.secret()["stringData"] == {"identity": RUNNER_KEY, "known_hosts": context.git.known_hosts}
    assert flux.secret()["stringData"] == {"identity": FLUX_KEY, "known_hosts": context.git.known_hosts}
    assert FLUX_KEY not in repr(context)


def test_the_runner_has_rights_in_the_workloads_namespace_alone(context: RunContext) -> None:
    runner = Runner(context)
    assert runner.role()["kind"] == "Role"
    assert runner.role()["metadata"]["namespace"] == runner.binding()["metadata"]["namespace"] == "workload"
    assert runner.binding()["subjects"][0]["namespace"] == runner.account()["metadata"]["namespace"] == "ci"
    assert all("*" not in rule["verbs"] + rule["resources"] for rule in runner.role()["rules"])


def test_pull_looks_at_the_studys_interval_and_does_not_wait_for_the_rollout(context: RunContext) -> None:
    made, flux = Flux(context), context.study.flux
    assert made.repository()["spec"]["interval"] == f"{flux.interval_seconds}s"
    assert made.kustomization()["spec"]["interval"] == f"{flux.apply_interval_seconds}s"
    assert made.kustomization()["spec"]["wait"] is False
    assert made.repository()["spec"]["secretRef"]["name"] == made.secret()["metadata"]["name"]


def test_pull_starts_flux_and_takes_its_objects_away_while_flux_still_runs(
    context: RunContext, cluster: Objects
) -> None:
    cluster.replicas = dict.fromkeys(CONTROLLERS, 0)
    pull = arm("pull", context)
    with pull.prepare():
        pull.deliver(Commit(0, "r1", "x"))
        assert set(cluster.replicas.values()) == {1}
        assert kinds(cluster) == {"Secret", "GitRepository", "Kustomization"}
    assert set(cluster.replicas.values()) == {0}
    assert cluster.objects == {}


def test_several_copies_are_a_kustomization_each_under_a_name_of_its_own(context: RunContext, cluster: Objects) -> None:
    workload = context.study.workload.model_copy(update={"copies": 3})
    many = dataclasses.replace(context, study=context.study.model_copy(update={"workload": workload}))
    with arm("pull", many).prepare():
        found = [one for one in cluster.objects.values() if one["kind"] == "Kustomization"]
        assert {one["spec"]["nameSuffix"] for one in found} == {"-0001", "-0002", "-0003"}
        assert len({one["metadata"]["name"] for one in found}) == 3
    assert cluster.objects == {}
    with pytest.raises(LabError, match=r"workload\.copies"), arm("push", many).prepare():
        pass


def test_reconcile_asks_anew_for_each_commit(context: RunContext, cluster: Objects) -> None:
    one = arm("reconcile", context)
    asked = []
    with one.prepare():
        for index in range(2):
            one.deliver(Commit(index, f"r{index}", "x"))
            annotations = cluster.objects["GitRepository flux-system/hardwatt-workload"]["metadata"]["annotations"]
            asked.append(annotations["reconcile.fluxcd.io/requestedAt"])
    assert len(set(asked)) == 2


def test_suspended_suspends_both_once_the_first_delivery_is_there(context: RunContext, cluster: Objects) -> None:
    one = arm("suspended", context)
    with one.prepare():
        one.deliver(Commit(-1, "r0", "x"))
        assert not any("suspend" in found.get("spec", {}) for found in cluster.objects.values())
        one.settle()
        suspended = {found["kind"] for found in cluster.objects.values() if found.get("spec", {}).get("suspend")}
        assert suspended == {"GitRepository", "Kustomization"}


def intervals(text: str) -> dict[str, str]:
    return {job["job_name"]: job.get("scrape_interval", "") for job in yaml.safe_load(text)["scrape_configs"]}


@pytest.mark.parametrize("flux", [False, True])
def test_the_recorder_alone_has_neither_prometheus_nor_the_exporter(
    flux: bool, context: RunContext, cluster: Objects
) -> None:
    one = arm("observer", context, prometheus="off", flux=flux)
    with type(one).between_runs(context.changes), one.prepare():
        one.deliver(Commit(-1, "r0", "x"))
        one.settle()
        assert cluster.stateful == {"prometheus-k8s": 0}
        assert "nodeSelector" in cluster.objects["DaemonSet monitoring/node-exporter"]["spec"]["template"]["spec"]
        assert cluster.config == PROMETHEUS_CONFIG
        assert set(cluster.replicas.values()) == {int(flux)}
        assert "Job" not in kinds(cluster)
    assert cluster.stateful == {"prometheus-k8s": 1}


@pytest.mark.parametrize("interval", ["15s", "1s"])
def test_prometheus_is_configured_while_it_is_off_and_both_are_restored(
    interval: str, context: RunContext, cluster: Objects, log: Pages
) -> None:
    one = arm("observer", context, prometheus=interval, flux=False)
    with type(one).between_runs(context.changes), one.prepare():
        assert cluster.calls[:3] == ["scale prometheus-k8s 0", "set prometheus.yaml of prometheus-config",
                                     "scale prometheus-k8s 1"]  # fmt: skip
        assert intervals(cluster.config) == {"meter": interval, "cadvisor": interval, "kubelet": ""}
        timeouts = [job.get("scrape_timeout") for job in yaml.safe_load(cluster.config)["scrape_configs"][:2]]
        assert timeouts == [{"15s": "10s", "1s": "1s"}[interval]] * 2
        left = list(log.undo)
    assert (cluster.stateful, cluster.config) == ({"prometheus-k8s": 1}, PROMETHEUS_CONFIG)
    # A process that was killed there: the journal alone restores both, and doing it twice does no harm.
    cluster.config, cluster.stateful = "another", {"prometheus-k8s": 1}
    for _ in range(2):
        for undo in reversed(
            [Undo.from_dict(dataclasses.asdict(undo)) for undo in left if undo.action != "delete-all"]
        ):
            if undo.action in ("scale", "data"):
                perform(undo, cluster)
    assert (cluster.stateful, cluster.config) == ({"prometheus-k8s": 1}, PROMETHEUS_CONFIG)
    assert "prometheus.yaml of ConfigMap monitoring/prometheus-config as it was" in map(str, left)


def test_an_interval_that_no_arm_has_and_a_configuration_without_the_jobs_are_refused(
    context: RunContext, cluster: Objects
) -> None:
    with (
        pytest.raises(LabError, match="no interval '2s'") as error,
        arm("observer", context, prometheus="2s", flux=False).prepare(),
    ):
        pass
    assert "15s or 1s" in error.value.hint
    cluster.config = "scrape_configs: [{job_name: meter}]"
    with (
        pytest.raises(LabError, match="no job cadvisor"),
        arm("observer", context, prometheus="1s", flux=False).prepare(),
    ):
        pass
    assert cluster.config == "scrape_configs: [{job_name: meter}]"


def test_the_labs_own_configuration_takes_either_interval() -> None:
    text = (ROOT / "clusters/base/monitoring/controllers/prometheus/prometheus.yaml").read_text()
    for interval in monitoring.INTERVALS:
        changed, before = yaml.safe_load(monitoring.with_interval(text, interval)), yaml.safe_load(text)
        assert [job["job_name"] for job in changed["scrape_configs"]] == [
            job["job_name"] for job in before["scrape_configs"]
        ]
        own = {job["job_name"]: job for job in changed["scrape_configs"]}
        assert {own[name]["scrape_interval"] for name in monitoring.WATCHED_JOBS} == {interval}
        rest = [job for job in changed["scrape_configs"] if job["job_name"] not in monitoring.WATCHED_JOBS]
        assert all(job in before["scrape_configs"] for job in rest)


@pytest.mark.parametrize("name", ["none", "burn", "kepler"])
def test_without_an_installation_only_the_commit_before_the_window_is_delivered(
    name: str, context: RunContext, cluster: Objects
) -> None:
    one = arm(name, context)
    with one.prepare():
        one.deliver(Commit(-1, "r0", "x"))
        before = sum(key.startswith("Job") for key in cluster.objects)
        one.deliver(Commit(0, "r1", "x"))
        assert before == sum(key.startswith("Job") for key in cluster.objects) == 1


def test_a_pipeline_does_its_steps_in_their_order(context: RunContext, cluster: Objects) -> None:
    one = arm("pipeline", context, steps="wait deploy checkout", flux=False)
    with one.prepare():
        one.deliver(Commit(0, "r1", "x"))
        text = cluster.objects["Job ci/runner-p001-1-push-1"]["spec"]["template"]["spec"]["containers"][0]["command"][2]
    assert text.index("git clone") < text.index("kubectl apply") < text.index("rollout status")
    assert "sha256sum" not in text
    with pytest.raises(LabError, match="no step 'deplyo'"):
        arm("pipeline", context, steps="deplyo", flux=False).deliver(Commit(0, "r1", "x"))


def test_pods_that_burn_all_end_in_the_window_and_say_how_much(context: RunContext) -> None:
    one = arm("burn", context, pods=4, burn_seconds=5)
    times = [action.seconds for action in one.actions()]
    assert len(times) == 4
    assert max(times) < context.study.estimand.window_seconds / 2 + 2
    container = Burner(context).job(1, 5)["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "CPU_SECONDS", "value": "5"}]


def test_reapply_starts_jobs_by_the_clock_whose_names_no_commit_has(context: RunContext, cluster: Objects) -> None:
    one = arm("reapply", context, reapply_seconds=20)
    with one.prepare():
        one.deliver(Commit(-1, "r0", "sha0"))
        assert [action.seconds for action in one.actions()] == [10.0, 30.0]
        for action in one.actions():
            action.do()
        names = {key.rpartition("-")[2] for key in cluster.objects if key.startswith("Job")}
        assert len(names) == 3
        assert not names & {str(number) for number in range(1, context.study.trace.commits + 1)}


def test_sleep_scales_to_nothing_and_wakes_up_again(context: RunContext, cluster: Objects) -> None:
    one = arm("off", context, state="sleep", sleep_from=5, sleep_until=30)
    replicas = []
    with one.prepare():
        one.settle()
        for action in one.actions():
            action.do()
            replicas.append(cluster.objects["Deployment workload/app"]["spec"]["replicas"])
    assert replicas == [0, context.study.workload.replicas]
    with pytest.raises(LabError, match="state"):
        arm("off", context, state="of")


def test_the_ci_server_waits_for_commits_and_is_told_of_them_by_a_webhook(
    context: RunContext, cluster: Objects
) -> None:
    one = arm("push-ci", context)
    with one.prepare():
        assert {"Deployment", "ConfigMap", "Service", "Secret", "Role"} <= kinds(cluster)
        one.deliver(Commit(0, "r1", "0123abcd"))
        assert cluster.calls[-1] == "post ci/buildbot:8010/0123abcd.r1"
        pod = cluster.objects["Deployment ci/buildbot"]["spec"]["template"]["spec"]
    assert {container["image"] for container in pod["containers"]} == {context.images["buildbot"]}
    assert not any("livenessProbe" in container or "readinessProbe" in container for container in pod["containers"])
    for name, text in Buildbot(context).files()["data"].items():
        compile(text, name, "exec")


def test_without_its_image_the_ci_server_names_what_is_missing(context: RunContext) -> None:
    bare = dataclasses.replace(context, images={"runner": context.images["runner"]})
    with (
        pytest.raises(LabError, match=r"hardwatt\.dev/buildbot is not in the mirror") as error,
        arm("push-ci", bare).prepare(),
    ):
        pass
    assert "mirror.fill --only ci" in error.value.hint


def test_what_was_set_on_a_foreign_object_is_given_up(cluster: Objects, log: Pages) -> None:
    manifest = {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "kepler", "namespace": "monitoring"},
        "spec": {"template": {}},
    }  # fmt: skip
    with Changes(cluster, log).overridden(manifest):
        left = log.undo[0]
        assert str(left) == "fields of DaemonSet monitoring/kepler given up"
    perform(left, cluster)
    assert "spec" not in cluster.objects["DaemonSet monitoring/kepler"]


def test_workloads_are_kustomizations_whose_deployment_shows_its_revision() -> None:
    for folder in (ROOT / "experiments/workloads").iterdir():
        found = yaml.safe_load((folder / "kustomization.yaml").read_text())
        texts = [yaml.safe_load((folder / name).read_text()) for name in found["resources"]]
        assert any(one["kind"] == "Deployment" for one in texts), folder


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("class Push: ...", "no class Arm"),
        (
            "from hardwatt.experiment.arm import BaseArm\nclass Arm(BaseArm):\n    def prepare(self): ...",
            "lacks deliver",
        ),
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
