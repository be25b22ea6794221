"""What ``lab.status`` and ``lab.up`` say of what lacks, what is suspended, and what an experiment switched off."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as k8s

from hardwatt.cluster import client
from hardwatt.cluster import status as cluster_status
from hardwatt.cluster.changes import Undo
from hardwatt.cluster.status import ClusterStatus, Pod
from hardwatt.config.lab import Lab
from hardwatt.config.settings import Settings
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core.errors import LabError, LockedError, WaitError
from hardwatt.core.process import Result
from hardwatt.experiment.run import status
from hardwatt.experiment.run.journal import JOURNAL, ExperimentState, Journal
from hardwatt.gitops import control, kubeadm_addons, state
from hardwatt.gitops.desired import Item
from hardwatt.gitops.readiness import KUBEADM, Lack, Readiness
from hardwatt.lifecycle import inspect
from hardwatt.lifecycle import up as up_module
from hardwatt.machines.lab_context import LabContext

CONTROLLER = Item("Deployment", "flux-system", "source-controller", "flux-system")
AT_ZERO = Lack(CONTROLLER, "scaled", "is scaled to 0, git has 1")
OFF = Lack(CONTROLLER, "scaled", "is scaled to 0, git has 1", left="an experiment switched it off")
LEFT = Lack(CONTROLLER, "scaled", "is scaled to 0, git has 1", left="left so, because it is suspended")


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(Settings(name="unit"), tmp_path, tmp_path / ".lab/unit")


def switch_off(lab: Lab) -> None:
    """Leave a journal of an experiment that scaled the controller to zero and suspended Flux."""
    lab.dir.mkdir(parents=True)
    undo = (
        Undo("scale", "apps/v1", "Deployment", "flux-system", "source-controller", replicas=1),
        Undo("resume", "kustomize.toolkit.fluxcd.io/v1", "Kustomization", "flux-system", "flux-system"),
        Undo("delete", "v1", "Namespace", "", "ci"),
    )
    Journal.start(lab.dir / JOURNAL, ExperimentState("s", 1, 1, "0", str(lab.dir / "b"), {}, undo=undo))


def test_the_journal_says_what_an_experiment_scaled_and_suspended(lab: Lab) -> None:
    assert status.switched_off(lab) == {}
    switch_off(lab)
    assert set(status.switched_off(lab)) == {CONTROLLER.key, ("Kustomization", "flux-system", "flux-system")}


@pytest.mark.parametrize(
    ("found", "following"),
    [
        (Readiness(()), ""),
        (Readiness((), ("Kustomization flux-system/apps",)), ""),
        (Readiness((AT_ZERO,)), "invoke lab.up"),
        (Readiness((LEFT,)), "invoke gitops.resume"),
        (Readiness((LEFT, AT_ZERO)), "invoke lab.up"),
    ],
)
def test_what_lacks_and_what_is_suspended_is_said(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    found: Readiness, following: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(control, "compared", lambda *_: found)
    assert inspect._compared(lab) == following
    said = capsys.readouterr().err
    assert all(f"lacks: {lack}" in said for lack in found.lacks)
    assert all(f"suspended: {name} (invoke gitops.resume)" in said for name in found.suspended)


def test_a_running_experiments_doing_is_no_fault_and_a_killed_ones_is(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_off(lab)
    monkeypatch.setattr(control, "compared", lambda *_: Readiness((OFF,)))
    with lab.lock("experiment.run"):
        assert inspect._compared(lab) == ""
    assert inspect._compared(lab) == "invoke lab.up"


@pytest.mark.parametrize("change", [control.suspend, control.resume])
def test_flux_is_not_switched_while_an_experiment_runs(lab: Lab, change: Callable[[Lab], None]) -> None:
    with lab.lock("experiment.run"), pytest.raises(LockedError, match=r"experiment\.run"):
        change(lab)


def test_git_that_cannot_be_built_is_not_ready(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> Readiness:
        raise LabError("the Kustomization apps in git cannot be built", hint="invoke lab.status")

    monkeypatch.setattr(control, "compared", broken)
    assert inspect._compared(lab) == "invoke lab.up"
    assert "cannot be built" in capsys.readouterr().err


def ready(lab: Lab, monkeypatch: pytest.MonkeyPatch, found: Readiness) -> None:
    """Run lab.up's last step on a cluster whose pods are all well."""
    status = ClusterStatus({"n": True}, (Pod("a", "p", "Running", True, 0, {}, "1", False),))
    monkeypatch.setattr(control, "expected", lambda *_: ())
    monkeypatch.setattr(state, "expected", lambda *_: ())
    monkeypatch.setattr(control, "look", lambda *_: found)
    monkeypatch.setattr(state, "look", lambda *_: found)
    monkeypatch.setattr(client, "connect", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(cluster_status, "read_with", lambda _: status)
    monkeypatch.setattr(up_module, "READY_TIMEOUT", 0.0)
    monkeypatch.setattr(LabContext, "index", object())
    up_module._ready(up_module.LabState(lab))


def test_lab_up_is_not_done_while_something_lacks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WaitError, match="source-controller is scaled to 0, git has 1"):
        ready(lab, monkeypatch, Readiness((AT_ZERO,)))


def test_lab_up_names_what_it_leaves(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ready(lab, monkeypatch, Readiness((LEFT,), ("Kustomization flux-system/flux-system",)))
    said = capsys.readouterr().err
    assert "suspended, and left so: Kustomization flux-system/flux-system (invoke gitops.resume)" in said
    assert str(LEFT) in said


def test_kubeadms_own_is_scaled_or_made_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    dns, proxy = KUBEADM
    found = Readiness((
        Lack(dns, "scaled", "is scaled to 0, kubeadm has 2"), Lack(proxy, "missing", "is missing"), AT_ZERO,
        Lack(Item("Pod", "kube-system", "etcd-n"), "missing", "is missing"),
    ))  # fmt: skip
    ran: list[str] = []

    class FakeSsh:
        def __init__(self, _: Endpoint) -> None:
            return

        def __enter__(self) -> "FakeSsh":
            return self

        def __exit__(self, *_: object) -> None:
            return

        def run(self, command: str, **_: Any) -> Result:
            ran.append(command)
            return Result((), 0, "", "", 0)

    scaled: list[Any] = []
    monkeypatch.setattr(kubeadm_addons, "Ssh", FakeSsh)
    monkeypatch.setattr(client, "connect", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(control, "look", lambda *_: found)
    monkeypatch.setattr(state, "look", lambda *_: found)
    apps = type("Apps", (), {
        "patch_namespaced_deployment_scale": lambda _, *words, **__: scaled.append(words[:2]),
        "patch_namespaced_stateful_set_scale": lambda *_: None,
    })()  # fmt: skip
    monkeypatch.setattr(k8s, "AppsV1Api", lambda _: apps)
    assert kubeadm_addons.planned(lab) == [
        "would be put back: Deployment kube-system/coredns is scaled to 0, kubeadm has 2",
        "would be put back: DaemonSet kube-system/kube-proxy is missing",
    ]
    assert not ran and not scaled, "a plan changes nothing"
    end = Endpoint("unit", "embedded", "10.77.4.2", 22, "root", lab.dir / "k", lab.dir / "kh", "", "10.77.4.2")
    assert kubeadm_addons.restore(lab, end) == [
        "Deployment kube-system/coredns scaled back to 2 (it was scaled to 0)",
        "kubeadm made DaemonSet kube-system/kube-proxy again (it was missing)",
    ]
    assert scaled == [("coredns", "kube-system")]
    assert ran == [f"kubeadm init phase addon kube-proxy --config {kubeadm_addons.CONFIG}"]
