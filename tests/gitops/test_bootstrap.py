"""The order of a bootstrap, with doubles for node, Flux and cluster; git is real."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardwatt.cluster import client
from hardwatt.config.lab import Lab
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import process
from hardwatt.core.errors import CommandError, LabError, RefusedError
from hardwatt.gitops import bootstrap as gitops_bootstrap
from hardwatt.gitops import control, deployment, desired_flux, drift, flux, flux_cli, git_remote, state, tree
from hardwatt.gitops.bootstrap import GitopsOutcome
from hardwatt.gitops.desired import Item
from hardwatt.gitops.desired_flux import DesiredFlux
from hardwatt.gitops.readiness import Lack, Readiness
from hardwatt.gitops.repository import Repository
from hardwatt.machines import choice
from hardwatt.mirror.index import Artefact, Index
from hardwatt.provision import git_keys

HOST_KEY = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ"


class World:
    """What happened, in order; and what the doubles answer."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.outdated = "Flux is not in the cluster"
        self.known_hosts = f"[10.77.0.2]:2222 ssh-ed25519 {HOST_KEY}"
        self.fails = False
        self.stored: dict[str, str] = {}
        self.argv: list[str] = []
        self.env: dict[str, str] = {}
        self.ready = Readiness(())


class FakeCluster:
    def __init__(self, world: World) -> None:
        self._world = world

    def outdated(self, wanted: DesiredFlux) -> str:
        return self._world.outdated

    def secret(self) -> dict[str, str]:
        return {"known_hosts": self._world.known_hosts}

    def store_secret(self, wanted: dict[str, str]) -> None:
        self._world.log.append("store secret")
        self._world.stored = wanted

    def request(self) -> None:
        self._world.log.append("request")


class FakeApi:
    def __enter__(self) -> "FakeApi":
        return self

    def __exit__(self, *error: object) -> None:
        return None


class FakeMachine:
    def __init__(self, end: Endpoint) -> None:
        self._end = end

    def endpoint(self) -> Endpoint:
        return self._end


@pytest.fixture
def world(lab: Lab, repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World()
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"10.77.0.2 ssh-ed25519 {HOST_KEY}\n")
    end = Endpoint("n", "embedded", "10.77.0.2", 22, "root", tmp_path / "k", known_hosts, "10.77.0.1", "10.77.0.2")

    def bootstrap(argv: list[str], env: dict[str, str], *_: Any) -> None:
        world.log.append("flux bootstrap")
        world.argv, world.env = argv, env
        if world.fails:
            raise CommandError(["flux"], 1)

    monkeypatch.setattr(choice, "machine_for", lambda _: FakeMachine(end))
    monkeypatch.setattr(client, "connect", lambda _: FakeApi())
    monkeypatch.setattr(control, "repository", lambda lab, name: repo)
    monkeypatch.setattr(git_remote, "repository", lambda lab, name: repo)
    monkeypatch.setattr(git_remote, "repository", lambda lab, name, endpoint: repo)
    monkeypatch.setattr(flux, "FluxObjects", lambda _: FakeCluster(world))
    monkeypatch.setattr(flux_cli, "version", lambda _: "v2.9.5")
    monkeypatch.setattr(desired_flux, "outdated_files", lambda *_: "")
    monkeypatch.setattr(flux_cli, "bootstrap", bootstrap)
    monkeypatch.setattr(flux, "synced", lambda _: [])
    monkeypatch.setattr(flux, "wait_for", lambda _, commit, respect=False: world.log.append("wait"))
    for module in (gitops_bootstrap, control, state):
        monkeypatch.setattr(module, "expected", lambda *_, **__: ())
        monkeypatch.setattr(module, "look", lambda *_: world.ready)
    monkeypatch.setattr(drift, "repair", lambda *_: [])
    yield world


@pytest.fixture
def full(index: Index) -> Index:
    return index.with_artefact(Artefact("flux", "tool", "gitops", "2.9.5", "built", "", "", "tools/flux", ""))


def test_flux_gets_a_key_that_may_only_read_and_the_host_key_that_the_lab_knows(
    lab: Lab, full: Index, world: World
) -> None:
    outcome = gitops_bootstrap.bootstrap(lab, full)
    assert world.log == ["store secret", "flux bootstrap", "request", "wait"]
    assert world.stored["identity"] == git_keys.path(lab, "flux").read_text()
    assert world.stored["known_hosts"] == f"[10.77.0.2]:2222 ssh-ed25519 {HOST_KEY}\n"
    assert Path(world.env["SSH_KNOWN_HOSTS"]).read_text() == world.stored["known_hosts"]
    assert str(git_keys.path(lab, "controller")) in world.argv
    assert not [part for part in world.argv if part.startswith("--private-key-file")], "flux would ask for a host key"
    files = len(tree.desired(lab, full, "embedded"))
    assert outcome.changed == (f"repository: {files} files", "flux bootstrap v2.9.5")


def test_a_bootstrap_that_fails_is_told(lab: Lab, full: Index, world: World) -> None:
    world.fails = True
    with pytest.raises(CommandError):
        gitops_bootstrap.bootstrap(lab, full)
    assert world.log == ["store secret", "flux bootstrap"]


def test_with_flux_as_it_should_be_it_is_not_run(
    lab: Lab, full: Index, world: World, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.outdated = ""
    first = gitops_bootstrap.bootstrap(lab, full)
    assert world.log == ["request", "wait"]
    world.log.clear()
    monkeypatch.setattr(flux, "moved_to", lambda found, commit: commit == first.head)
    again = gitops_bootstrap.bootstrap(lab, full)
    assert again == GitopsOutcome((), first.head)
    assert world.log == ["wait"]
    assert repo.git("rev-list", "--count", first.head).stdout.strip() == "1"


def test_another_stored_host_key_stops_everything(lab: Lab, full: Index, world: World) -> None:
    world.known_hosts = "[10.77.0.2]:2222 ssh-ed25519 AAAAother"
    with pytest.raises(RefusedError, match="AAAAother"):
        gitops_bootstrap.bootstrap(lab, full)
    assert world.log == ["store secret", "flux bootstrap"]


def test_a_clone_into_an_existing_folder_is_refused(lab: Lab, tmp_path: Path, world: World) -> None:
    with pytest.raises(LabError, match="exists already"):
        control.clone(lab, tmp_path)


def test_a_clone_can_pull_and_push_by_itself(
    lab: Lab, full: Index, world: World, repo: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gitops_bootstrap.bootstrap(lab, full)
    over_ssh = dataclasses.replace(repo, env={"GIT_SSH_COMMAND": "ssh -i key"})
    monkeypatch.setattr(control, "repository", lambda lab, name: over_ssh)
    monkeypatch.setattr(git_remote, "repository", lambda lab, name: over_ssh)
    folder = control.clone(lab, tmp_path / "mine")
    assert (folder / "clusters/lab/monitoring.yaml").exists()
    assert "sshcommand = ssh -i key" in (folder / ".git/config").read_text()


def test_reconcile_asks_waits_for_the_head_and_applies_again(
    lab: Lab, full: Index, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LabError, match="is empty"):
        control.reconcile(lab)
    head = gitops_bootstrap.bootstrap(lab, full).head
    world.log.clear()
    monkeypatch.setattr(drift, "reapply", lambda _: world.log.append("apply again"))
    assert control.reconcile(lab) == head
    assert world.log == ["request", "wait", "apply again"]


CONTROLLER = Item("Deployment", "flux-system", "source-controller", "flux-system")
AT_ZERO = Lack(CONTROLLER, "scaled", "is scaled to 0, git has 1")


@pytest.mark.parametrize(
    ("ready", "says", "hint"),
    [
        (Readiness((AT_ZERO,)), "source-controller is scaled to 0, git has 1", "invoke lab.up"),
        (Readiness((dataclasses.replace(AT_ZERO, why="missing", text="is missing"),)), "is missing", "invoke lab.up"),
        (Readiness((Lack(Item("GitRepository", "flux-system", "flux-system"), "missing", "is missing"),)),
         "GitRepository flux-system/flux-system is missing", "invoke lab.up"),
        (Readiness((dataclasses.replace(AT_ZERO, left="an experiment switched it off"),)), "by an experiment",
         "invoke experiment.status; invoke experiment.resume, or experiment.abandon"),
        (Readiness((dataclasses.replace(AT_ZERO, left="left so"),), ("Kustomization x",)), "Flux cannot reconcile",
         "invoke gitops.resume, then invoke lab.up"),
        (Readiness((), ("Kustomization flux-system/apps",)), "suspended: Kustomization flux-system/apps",
         "invoke gitops.resume"),
    ],
)  # fmt: skip
def test_reconcile_names_at_once_what_keeps_flux_from_it(
    lab: Lab, full: Index, world: World, ready: Readiness, says: str, hint: str
) -> None:
    gitops_bootstrap.bootstrap(lab, full)
    world.log.clear()
    world.ready = ready
    with pytest.raises(LabError, match=says) as caught:
        control.reconcile(lab)
    assert caught.value.hint == hint
    assert world.log == [], "Flux was not asked, and not waited for"


def test_show_prints_the_generated_file_and_who_changed_it(lab: Lab, full: Index, world: World) -> None:
    with pytest.raises(LabError, match="holds no clusters/generated/lab"):
        control.show(lab)
    gitops_bootstrap.bootstrap(lab, full)
    text = control.show(lab)
    assert "by hardwatt" in text.splitlines()[0]
    assert "kind: Component" in text


def test_status_tells_each_object(lab: Lab, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        flux.Sync("flux-system", True, "main@sha1:1", "stored", False, True),
        flux.Sync("monitoring-controllers", True, "main@sha1:1", "applied", False, False),
        flux.Sync("monitoring-configs", True, "main@sha1:1", "applied", True, True),
    ]
    monkeypatch.setattr(flux, "synced", lambda _: found)
    states = {row["name"]: row["state"] for row in control.status_rows(lab)}
    assert states == {
        "flux-system": "ready",
        "monitoring-controllers": "not ready",
        "monitoring-configs": "suspended",
    }
    prometheus = Item("StatefulSet", "monitoring", "prometheus-k8s", "monitoring-controllers")
    world.ready = Readiness((
        Lack(Item("Kustomization", "flux-system", "apps", "flux-system"), "missing", "is missing"),
        Lack(prometheus, "scaled", "is scaled to 0, git has 1"),
        Lack(Item("Deployment", "kube-system", "coredns"), "late", "has 0 of 2 replicas ready"),
    ))  # fmt: skip
    states = {row["name"]: row["state"] for row in control.status_rows(lab)[3:]}
    assert states == {"apps": "missing", "prometheus-k8s": "not ready"}


def test_status_waits_for_a_reconciliation_that_runs(lab: Lab, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    still = flux.Sync("flux-system", True, "main@sha1:1", "stored", False, True)
    busy = flux.Sync(
        "monitoring-configs", False, "main@sha1:1", "Reconciliation in progress", False, True, working=True
    )
    done = dataclasses.replace(busy, ready=True, message="applied", working=False)
    looks = [[still, busy], [still, done]]
    monkeypatch.setattr(flux, "synced", lambda _: looks.pop(0) if len(looks) > 1 else looks[0])
    monkeypatch.setattr("hardwatt.core.wait.time.sleep", lambda _: None)
    assert [row["state"] for row in control.status_rows(lab)] == ["ready", "ready"]
    looks[:] = [[still, busy]]
    monkeypatch.setattr(flux, "SETTLE_TIMEOUT", 0.0)
    assert [row["state"] for row in control.status_rows(lab)] == ["ready", "not ready"]


def test_after_a_restart_flux_is_asked_again(
    lab: Lab, full: Index, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the API server holds is from before the restart: all of it Ready, and nothing of it known."""
    gitops_bootstrap.bootstrap(lab, full)
    world.outdated = ""
    world.log.clear()
    monkeypatch.setattr(flux, "moved_to", lambda *_: True)
    monkeypatch.setattr(drift, "reapply", lambda _: world.log.append("apply again"))
    assert gitops_bootstrap.bootstrap(lab, full).changed == ()
    assert world.log == ["wait"]
    gitops_bootstrap.bootstrap(lab, full, restarted=True)
    assert world.log == ["wait", "request", "apply again", "wait"]


def extra(index: Index, name: str) -> Index:
    return index.with_artefact(Artefact(f"ghcr.io/fluxcd/{name}", "image", "extra", "v1", "imported", "", "", "", ""))


@pytest.mark.parametrize("carried", [(), ("helm-controller",), ("helm-controller", "notification-controller")])
def test_controllers_run_where_image_and_manifests_are_there(
    lab: Lab, full: Index, world: World, carried: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """The flux CLI is a double: it exports what it carries, and fails on the rest as the real one does."""
    tool = full.tool("flux")
    tool.parent.mkdir(parents=True)
    known = ",".join((*desired_flux.COMPONENTS, *carried))
    loop = f"for one in $(echo ${{3#*=}} | tr , ' '); do case ,{known}, in *,$one,*) ;; *) exit 1;; esac; done"
    tool.write_text(f"#!/bin/sh\n{loop}\n")
    tool.chmod(0o755)
    held = extra(extra(full, "helm-controller"), "notification-controller")
    assert deployment.GitOpsDeployment(lab, held).wanted().components == (*desired_flux.COMPONENTS, *carried)
    said = capsys.readouterr().err
    for name in desired_flux.MORE_COMPONENTS:
        assert (f"{name} is left out" in said) is (name not in carried)
    assert deployment.GitOpsDeployment(lab, full).wanted().components == desired_flux.COMPONENTS


def test_lab_up_says_what_is_left_out(lab: Lab, full: Index, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    gitops_bootstrap.bootstrap(lab, full)
    assert (
        "left out, for want of an image (invoke mirror.import): grafana, helm-controller, kepler"
        in capsys.readouterr().err
    )


def test_a_command_beside_an_agent_has_one_key_and_its_own_exit_status(lab: Lab) -> None:
    """Tried with the real ssh-agent and ssh-add."""
    public = git_keys.ensure(lab)["controller"]
    key = git_keys.path(lab, "controller")
    listed = process.run(flux_cli.with_key(["ssh-add", "-L"], key)).stdout
    assert [" ".join(line.split()[:2]) for line in listed.splitlines()] == [public]
    assert process.run(flux_cli.with_key(["sh", "-c", "exit 7"], key), check=False).returncode == 7
    with pytest.raises(CommandError):
        process.run(flux_cli.with_key(["true"], lab.dir / "no-such-key"))
