"""The background forward, with a stand-in for kubectl that really listens."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as k8s

from hardwatt.cluster import client, port_forward
from hardwatt.config.lab import Lab
from hardwatt.core import ports
from hardwatt.core.errors import LabError
from hardwatt.machines.lab_context import LabContext
from hardwatt.mirror import fill

KUBECTL = f"""#!/bin/sh
'''exec' "{sys.executable}" "$0" "$@" # as pip does where the path of the environment has a space
' '''
import http.server, pathlib, sys
assert "port-forward" in sys.argv and "svc/prometheus-k8s" in sys.argv, sys.argv

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        gone = pathlib.Path(sys.argv[0]).with_name("gone").exists()
        self.send_response(502 if gone else 200)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(sys.argv[-1].partition(":")[0])), Handler).serve_forever()
"""


class FakeMirror:
    def __init__(self, kubectl: Path) -> None:
        self._kubectl = kubectl

    def tool(self, name: str) -> Path:
        assert name == "kubectl"
        return self._kubectl


class FakeCore:
    """A cluster with the Service of Prometheus and these pods behind it."""

    def __init__(self) -> None:
        self.pods = [pod(ready=True)]
        self.service = True

    def read_namespaced_service(self, name: str, namespace: str) -> Any:
        if not self.service:
            raise k8s.ApiException(status=404)
        return k8s.V1Service(spec=k8s.V1ServiceSpec(selector={"app": "prometheus"}))

    def list_namespaced_pod(self, namespace: str, label_selector: str) -> Any:
        assert (namespace, label_selector) == ("monitoring", "app=prometheus")
        return k8s.V1PodList(items=self.pods)


def pod(*, ready: bool) -> Any:
    condition = k8s.V1PodCondition(type="Ready", status=str(ready))
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(name="prometheus-k8s-0", namespace="monitoring", uid="1"),
        status=k8s.V1PodStatus(phase="Running" if ready else "Pending", conditions=[condition]),
    )


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    made = FakeCore()
    monkeypatch.setattr(client, "connect", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(k8s, "CoreV1Api", lambda _: made)
    monkeypatch.setattr(LabContext, "reached", lambda _: None)
    return made


@pytest.fixture
def ready(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, core: FakeCore) -> Iterator[Lab]:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    monkeypatch.setattr(fill, "load", lambda _, mode: FakeMirror(kubectl), raising=False)
    lab.dir.mkdir()
    lab.kubeconfig.write_text("")
    yield lab
    port_forward.stop(lab)


def port() -> int:
    return ports.free_port()


def test_it_runs_in_the_background_and_is_found_again(ready: Lab) -> None:
    number = port()
    url = port_forward.forward(ready, "prometheus", number)
    assert url == f"http://localhost:{number}"
    found = port_forward.find(ready, "prometheus")
    assert found is not None
    first = found.record.processes()
    assert port_forward.forward(ready, "prometheus", number) == url
    again = port_forward.find(ready, "prometheus")
    assert again is not None
    assert again.record.processes() == first
    assert port_forward.prometheus_url(ready) == url
    assert port_forward.status(ready) == f"prometheus on {url}"


def test_a_forward_that_outlives_the_machine_is_not_used(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    port_forward.forward(ready, "prometheus", port())

    def gone(_: Lab) -> None:
        raise LabError("the machine does not run", hint="invoke lab.up")

    monkeypatch.setattr(LabContext, "reached", gone)
    with pytest.raises(LabError, match="does not run"):
        port_forward.prometheus_url(ready)


def test_stop_ends_it_and_forgets_it(ready: Lab) -> None:
    port_forward.forward(ready, "prometheus", port())
    found = port_forward.find(ready, "prometheus")
    assert found is not None
    (process,) = found.record.processes()
    port_forward.stop(ready)
    assert not process.alive()
    assert port_forward.find(ready, "prometheus") is None
    assert port_forward.status(ready) == "none"


def test_another_port_replaces_it(ready: Lab) -> None:
    port_forward.forward(ready, "prometheus", port())
    first = port_forward.find(ready, "prometheus")
    assert first is not None
    (replaced,) = first.record.processes()
    number = port()
    assert port_forward.forward(ready, "prometheus", number).endswith(str(number))
    assert not replaced.alive()


def test_a_taken_port_is_refused_with_a_hint(ready: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        with pytest.raises(LabError, match=f"port {number} is taken") as caught:
            port_forward.forward(ready, "prometheus", number)
        assert caught.value.hint == f"invoke lab.forward prometheus --port {number + 1}"
        assert port_forward.find(ready, "prometheus") is None


def test_the_engine_gets_a_free_port_where_the_usual_one_is_taken(ready: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        settings = ready.settings.model_copy(
            update={"prometheus": ready.settings.prometheus.model_copy(update={"local_port": number})}
        )
        url = port_forward.prometheus_url(Lab(settings, ready.root, ready.dir))
    assert not url.endswith(str(number))


def test_an_unknown_target_lists_the_right_ones(ready: Lab) -> None:
    with pytest.raises(LabError, match="unknown target 'grafna'") as caught:
        port_forward.forward(ready, "grafna")
    assert caught.value.hint == "invoke lab.forward grafana"
    with pytest.raises(LabError, match="unknown target 'x'; targets: prometheus, grafana"):
        port_forward.forward(ready, "x")


def test_without_a_kubeconfig_it_says_so(ready: Lab) -> None:
    ready.kubeconfig.unlink()
    with pytest.raises(LabError, match="no kubeconfig") as caught:
        port_forward.forward(ready, "prometheus", port())
    assert caught.value.hint == "invoke lab.up"


def test_a_kubectl_that_ends_is_shown(ready: Lab, tmp_path: Path) -> None:
    (tmp_path / "kubectl").write_text("#!/bin/sh\necho 'services \"prometheus-k8s\" not found' >&2\nexit 1\n")
    with pytest.raises(LabError, match="not found"):
        port_forward.forward(ready, "prometheus", port())


def test_a_forward_of_a_pod_that_is_gone_is_made_anew(ready: Lab, tmp_path: Path) -> None:
    number = port()
    port_forward.forward(ready, "prometheus", number)
    first = port_forward.find(ready, "prometheus")
    assert first is not None
    (tmp_path / "gone").touch()
    assert not first.answers()
    (replaced,) = first.record.processes()
    (tmp_path / "kubectl").write_text(KUBECTL.replace('"gone"', '"other"'))
    assert port_forward.forward(ready, "prometheus", number) == f"http://localhost:{number}"
    assert not replaced.alive()


@pytest.mark.parametrize(("pods", "seen"), [([], "it has none"), ([pod(ready=False)], "prometheus-k8s-0 Pending")])
def test_a_service_without_a_pod_that_runs_is_named_at_once(
    ready: Lab, core: FakeCore, pods: list[Any], seen: str
) -> None:
    core.pods = pods
    with pytest.raises(LabError, match=f"prometheus does not run: .*{seen}") as caught:
        port_forward.prometheus_url(ready)
    assert "invoke lab.up" in caught.value.hint
    assert port_forward.find(ready, "prometheus") is None


def test_a_service_that_is_gone_is_named(ready: Lab, core: FakeCore) -> None:
    core.service = False
    with pytest.raises(LabError, match="no Service monitoring/prometheus-k8s"):
        port_forward.forward(ready, "prometheus", port())


def test_a_machine_that_is_gone_comes_before_a_port_that_is_taken(ready: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: LabContext) -> None:
        raise LabError("the machine is stopped", hint="invoke lab.up")

    monkeypatch.setattr(LabContext, "reached", gone)
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(LabError, match="the machine is stopped"):
        port_forward.forward(ready, "prometheus", server.getsockname()[1])
