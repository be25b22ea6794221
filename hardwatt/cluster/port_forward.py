"""Services of the cluster on localhost: kubectl's port-forward in the background, found again and stopped."""

import dataclasses
import http.client
import socket
from pathlib import Path
from typing import Any

from kubernetes import client as kubernetes

from hardwatt.cluster import client
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.core.files import read_json, write_json
from hardwatt.core.nearest import did_you_mean
from hardwatt.core.process import Process, spawn
from hardwatt.core.wait import wait
from hardwatt.machines import choice
from hardwatt.mirror import fill


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
    process: Process

    @property
    def url(self) -> str:
        return f"http://localhost:{self.local_port}"

    def answers(self) -> bool:
        """Return whether the service itself answers: kubectl may listen for a pod that is gone."""
        return self.process.alive() and _answers(self.local_port, TARGETS[self.target].health)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Forward":
        return cls(data["target"], int(data["local_port"]), Process.from_dict(data["process"]))

    def to_dict(self) -> dict[str, Any]:
        return {"target": self.target, "local_port": self.local_port, "process": self.process.to_dict()}


def forward(lab: Lab, target: str = "prometheus", local_port: int = 9090) -> str:
    """Have the service on localhost, in the background; return its URL.

    A forward that runs is used again, unless its port is another one or it does not answer.

    Raises ``LabError`` for an unknown target and where another program has the port.
    """
    wanted = _target(target)
    choice.reached(lab)
    if (running := find(lab, target)) and running.local_port == local_port and running.answers():
        return running.url
    if running:
        running.process.stop()
    if _listens(local_port):
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
    choice.reached(lab)
    running = find(lab, "prometheus")
    if running and running.answers():
        return running.url
    if running:
        running.process.stop()
    port = lab.settings.prometheus.local_port
    return forward(lab, "prometheus", _free_port() if _listens(port) else port)


def find(lab: Lab, target: str) -> Forward | None:
    """Return the forward of a target, if its process still runs."""
    data = read_json(_state(lab, target))
    found = Forward.from_dict(data) if data else None
    return found if found and found.process.alive() else None


def stop(lab: Lab) -> None:
    """Stop every forward of the lab."""
    for target in TARGETS:
        if running := find(lab, target):
            running.process.stop()
        _state(lab, target).unlink(missing_ok=True)


def status(lab: Lab) -> str:
    """Return one line about the forwards."""
    running = [found for target in TARGETS if (found := find(lab, target))]
    return ", ".join(f"{found.target} on {found.url}" for found in running) or "none"


def _target(name: str) -> Target:
    if name not in TARGETS:
        raise LabError(
            f"unknown target {name!r}; {did_you_mean(name, TARGETS, 'targets')}",
            hint=f"choose from: {', '.join(sorted(TARGETS))}",
        )
    return TARGETS[name]


def _state(lab: Lab, target: str) -> Path:
    return lab.dir / f"forward-{target}.json"


def _start(lab: Lab, name: str, target: Target, local_port: int) -> Forward:
    if not lab.kubeconfig.exists():
        raise LabError("this lab has no kubeconfig yet", hint="invoke lab.up")
    held = fill.load(lab)
    if target.image and not held.has_image(target.image):
        raise LabError(
            f"{name} is not part of this lab: its image is not in the mirror",
            hint="invoke mirror.import ARCHIVE, then invoke lab.up",
        )
    _require_pods(lab, name, target)
    log = lab.logs / f"forward-{name}.log"
    argv = [
        str(held.tool("kubectl")), f"--kubeconfig={lab.kubeconfig}", f"--namespace={target.namespace}",
        "port-forward", "--address=127.0.0.1", target.service, f"{local_port}:{target.port}",
    ]  # fmt: skip
    process = spawn(argv, log=log)
    started = Forward(name, local_port, process)
    write_json(_state(lab, name), started.to_dict())
    wait(
        lambda: (process.alive(), started.answers()),
        lambda state: state == (True, True),
        what=f"forward of {name}",
        timeout=START_TIMEOUT,
        delay=0.1,
        error=lambda state: None if state[0] else f"kubectl ended: {_last_line(log)}",
        describe=lambda state: "answers" if state[1] else "no answer yet",
        hint="invoke lab.status",
    )
    return started


def _require_pods(lab: Lab, name: str, target: Target) -> None:
    """Raise ``LabError`` where no pod of a service is ready: kubectl would wait for one."""
    with client.client(lab) as api:
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
        pods = [client.Pod.of(pod) for pod in core.list_namespaced_pod(target.namespace, label_selector=selector).items]
    if not any(pod.well for pod in pods):
        seen = ", ".join(map(str, pods)) or "it has none"
        raise LabError(
            f"{name} does not run: no pod of the Service {target.namespace}/{service} is ready ({seen})", hint=_UP
        )


def _last_line(log: Path) -> str:
    return log.read_text().strip().rpartition("\n")[2]


def _listens(port: int) -> bool:
    """Return whether something on this machine listens at the port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
