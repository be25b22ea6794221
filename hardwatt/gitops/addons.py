"""Parts that a lab has where their image is in the mirror: what they need besides manifests, and what is refused."""

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from kubernetes import client as kubernetes

from hardwatt.cluster import api_errors

NAMESPACE = "monitoring"
SECRET = "grafana-admin"  # noqa: S105 - its name
_LABELS = {"pod-security.kubernetes.io/enforce": "privileged"}


def ensure_grafana_password(core: Any) -> bool:
    """Have the Secret with Grafana's admin password, generated once; return whether it was made.

    ``core`` is a CoreV1Api. The namespace is made too where Flux has not made it yet. The password is in the
    cluster alone: in no repository, no log and on no command line.
    """
    metadata = kubernetes.V1ObjectMeta
    _create(core.create_namespace, kubernetes.V1Namespace(metadata=metadata(name=NAMESPACE, labels=_LABELS)))
    password = base64.b64encode(secrets.token_urlsafe(24).encode()).decode()
    body = kubernetes.V1Secret(metadata=metadata(name=SECRET, namespace=NAMESPACE), data={"password": password})
    return _create(core.create_namespaced_secret, NAMESPACE, body)


def _create(call: Any, *arguments: Any) -> bool:
    try:
        call(*arguments)
    except kubernetes.ApiException as error:
        if error.status == 409:
            return False
        raise api_errors.answered(error) from error
    return True


def fake_meter(config: str, arguments: Sequence[str] = ()) -> str:
    """Return why a configuration of Kepler is that of its fake meter; empty where it is not.

    ``config`` is the text of the file that the running pod mounts, ``arguments`` are its own. Kepler up to 0.11 has
    dev.fake-cpu-meter, later ones cpu.preferredMeters too. A text that cannot be read is a reason.
    """
    try:
        settings = yaml.safe_load(config) or {}
    except yaml.YAMLError as error:
        return f"its configuration cannot be read: {error}"
    if not isinstance(settings, Mapping):
        return "its configuration is no mapping"
    lowered = _lower(settings)
    if _lower(lowered.get("dev")).get("fake-cpu-meter", {}).get("enabled"):
        return "dev.fake-cpu-meter is enabled"
    if "fake" in [str(meter).lower() for meter in _lower(lowered.get("cpu")).get("preferredmeters") or []]:
        return "cpu.preferredMeters names fake"
    given = [argument for argument in arguments if re.search("fake", argument, re.IGNORECASE)]
    return f"its argument {given[0]}" if given else ""


def _lower(value: Any) -> dict[str, Any]:
    return {str(key).lower(): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def running_fake_meter(core: Any) -> str:
    """Return why a Kepler that runs in the cluster uses its fake meter; empty where none does.

    Looks at each pod that runs and at the ConfigMaps that this very pod mounts, whatever Flux was told.
    """
    pods = core.list_pod_for_all_namespaces(label_selector="app.kubernetes.io/name=kepler").items
    for pod in pods:
        commands = [[*(container.command or []), *(container.args or [])] for container in pod.spec.containers]
        arguments = [word for command in commands for word in command]
        names = [volume.config_map.name for volume in pod.spec.volumes or [] if volume.config_map]
        texts = [
            text
            for name in names
            for key, text in (core.read_namespaced_config_map(name, pod.metadata.namespace).data or {}).items()
            if key.endswith((".yaml", ".yml"))
        ]
        for text in texts or [""]:
            if reason := fake_meter(text, arguments):
                return f"{pod.metadata.namespace}/{pod.metadata.name}: {reason}"
    return ""
