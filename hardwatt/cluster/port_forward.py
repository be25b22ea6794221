"""Services of the cluster on localhost: kubectl's port-forward in the background, found again and stopped."""

import dataclasses
from typing import Any

from kubernetes import client as kubernetes

from hardwatt.cluster import client
from hardwatt.cluster.status import Pod
from hardwatt.config.lab import Lab
from hardwatt.core import background, ports
from hardwatt.core.background import Record
from hardwatt.core.errors import LabError
from hardwatt.core.nearest import corrected, did_you_mean
from hardwatt.machines.lab_context import LabContext


@dataclasses.dataclass(frozen=True)
class Target:
    """A service that can be forwarded."""

    namespace: str
    service: str
    port: int
    health: str
    """Path that answers with 200 when the service is well."""
    image: str = ""
    """Image without which the service is not part of the lab."""


TARGETS = {
    "prometheus": Target("monitoring", "svc/prometheus-k8s", 9090, "/-/ready"),
    "grafana": Target("monitoring", "svc/grafana", 3000, "/api/health", "docker.io/grafana/grafana"),
}
START_TIMEOUT = 20.0
_UP = "invoke lab.status names what does not run; invoke lab.up"


@dataclasses.dataclass(frozen=True)
class Forward:
    """A forward that we started."""

    target: str
    local_port: int
    record: Record

    @property
    def url(self) -> str:
        return f"http://localhost:{self.local_port}"

    def answers(self) -> bool:
        """Return True if the service itself answers: kubectl may listen for a pod that is gone."""
        return self.record.alive() and _answers(self.local_port, TARGETS[self.target])


def forward(lab: Lab, target: str = "prometheus", local_port: int = 9090) -> str:
    """Have the service on localhost, in the background; return its URL.

    A forward that runs is used again, unless its port is another one or it does not answer.

    Raises ``LabError`` for an unknown target and where another program has the port.
    """
    wanted = _target(target)
    LabContext.of(lab).reached()
    if (running := find(lab, target)) and running.local_port == local_port and running.answers():
        return running.url
    if running:
        running.record.stop()
    if ports.listens(local_port):
        raise LabError(
            f"port {local_port} is taken by another program",
            hint=f"invoke lab.forward {target} --port {local_port + 1}",
        )
    return _start(lab, target, wanted, local_port).url


def default_port(lab: Lab, target: str) -> int:
    """Return the local port of a target where none is given. Raises ``LabError`` for an unknown target."""
    return lab.settings.prometheus.local_port if target == "prometheus" else _target(target).port


def prometheus_url(lab: Lab) -> str:
    """Return a URL of the lab's Prometheus: the forward that runs, or a new one on a free port.

    Raises ``LabError`` where machine or link are gone: what outlives a machine may still answer through the forward.
    """
    LabContext.of(lab).reached()
    running = find(lab, "prometheus")
    if running and running.answers():
        return running.url
    if running:
        running.record.stop()
    port = lab.settings.prometheus.local_port
    return forward(lab, "prometheus", ports.free_port() if ports.listens(port) else port)


def find(lab: Lab, target: str) -> Forward | None:
    """Return the forward of a target, if its process still runs."""
    record = _record(lab, target)
    state = record.read()
    return Forward(target, int(state["local_port"]), record) if state and record.alive() else None


def stop(lab: Lab) -> None:
    """Stop every forward of the lab."""
    for target in TARGETS:
        _record(lab, target).forget()


def status(lab: Lab) -> str:
    """Return one line about the forwards."""
    running = [forward for target in TARGETS if (forward := find(lab, target))]
    return ", ".join(f"{forward.target} on {forward.url}" for forward in running) or "none"


def _target(name: str) -> Target:
    if name not in TARGETS:
        raise LabError(
            f"unknown target {name!r}; {did_you_mean(name, TARGETS, 'targets')}",
            hint=corrected("invoke lab.forward", name, TARGETS),
        )
    return TARGETS[name]


def _record(lab: Lab, target: str) -> Record:
    return Record(lab.dir / f"forward-{target}.json", check=lambda state: ports.number(state["local_port"]))


def _answers(port: int, target: Target) -> bool:
    return ports.answers(f"http://127.0.0.1:{port}{target.health}")


def _start(lab: Lab, name: str, target: Target, local_port: int) -> Forward:
    if not lab.kubeconfig.exists():
        raise LabError("this lab has no kubeconfig yet", hint="invoke lab.up")
    held = LabContext.of(lab).index
    if target.image and not held.has_image(target.image):
        raise LabError(
            f"{name} is not part of this lab: its image is not in the mirror",
            hint="invoke mirror.import ARCHIVE, then invoke lab.up",
        )
    _require_pods(lab, name, target)
    argv = [
        str(held.tool("kubectl")), f"--kubeconfig={lab.kubeconfig}", f"--namespace={target.namespace}",
        "port-forward", "--address=127.0.0.1", target.service, f"{local_port}:{target.port}",
    ]  # fmt: skip
    record = _record(lab, name)
    background.start(
        argv,
        lambda: _answers(local_port, target),
        what=f"forward of {name}",
        log=lab.logs / f"forward-{name}.log",
        timeout=START_TIMEOUT,
        started=lambda process: record.write({"target": name, "local_port": local_port}, process),
        hint="invoke lab.status",
    )
    return Forward(name, local_port, record)


def _require_pods(lab: Lab, name: str, target: Target) -> None:
    """Raise ``LabError`` where no pod of a service is ready: kubectl would wait for one."""
    with client.connect(lab) as api:
        core: Any = kubernetes.CoreV1Api(api)
        service = target.service.partition("/")[2]
        try:
            labels = core.read_namespaced_service(service, target.namespace).spec.selector or {}
        except kubernetes.ApiException as error:
            if error.status != 404:
                raise
            raise LabError(
                f"{name} is not in the cluster: no Service {target.namespace}/{service}", hint=_UP
            ) from error
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = [Pod.of(pod) for pod in core.list_namespaced_pod(target.namespace, label_selector=selector).items]
    if not any(pod.well for pod in pods):
        seen = ", ".join(map(str, pods)) or "it has none"
        raise LabError(
            f"{name} does not run: no pod of the Service {target.namespace}/{service} is ready ({seen})", hint=_UP
        )
