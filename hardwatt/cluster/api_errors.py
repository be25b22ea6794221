"""Why the cluster's API did not answer: machine and link first, then the node, then the API server; one clear error."""

import json
import re
import ssl
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import SSLError

from hardwatt.config.lab import Lab
from hardwatt.connect import ssh_routes
from hardwatt.core.errors import LabError
from hardwatt.machines.lab_context import LabContext

UP = "invoke lab.up"
KUBECONFIG = "invoke lab.kubeconfig"
_REFUSED = (401, 403)
_ERRNO = re.compile(r"\[Errno -?\d+\] [^')]*")
"""What the kernel says, in the middle of what urllib3 says of the connection."""


def explained(lab: Lab, server: str, error: Exception) -> LabError:
    """Return the error of a request to the API server at ``server`` as a ``LabError`` with a next command."""
    if isinstance(error, ApiException) and error.status:
        return answered(error, server)
    context = LabContext.of(lab)
    machine = context.machine
    if reason := machine.obstacle():  # it went away during the request
        return LabError(reason, hint=UP)
    if _certificate(error):
        return LabError(
            f"{server} shows a certificate that is not of the lab's cluster: the kubeconfig {lab.kubeconfig} is of "
            f"another cluster, or another server answers there ({short(error)})",
            hint=KUBECONFIG,
        )
    endpoint = context.endpoint
    if not ssh_routes.ssh_answers(endpoint, endpoint.port):
        hint = UP if machine.kind == "ssh" else f"invoke lab.machine.stop, then {UP}"
        return LabError(
            f"the node {endpoint.name} does not answer, neither SSH nor its API server ({short(error)})", hint=hint
        )
    return LabError(
        f"the API server at {server} does not answer ({short(error)}), but SSH on the node {endpoint.name} does",
        hint=UP,
    )


def short(error: Exception) -> str:
    """Return an error of a request in one line."""
    if isinstance(error, ApiException) and error.status:
        return f"{error.status} {error.reason}"
    reason = getattr(error, "reason", None) or error
    text = str(reason).splitlines()[0] if str(reason) else type(error).__name__
    known = _ERRNO.search(text)
    return (known.group() if known else text.rpartition(">: ")[2])[:200]


def answered(error: ApiException, server: str = "") -> LabError:
    """Return the error of an answer that refuses a request."""
    if error.status in _REFUSED:
        return LabError(
            f"the API server{f' at {server}' if server else ''} refuses the lab's kubeconfig ({short(error)})",
            hint=KUBECONFIG,
        )
    said = _message(error.body)
    return LabError(f"the API server answers {short(error)}{f': {said}' if said else ''}", hint="invoke lab.status")


def _message(body: Any) -> str:
    try:
        document = json.loads(body or "")
    except (TypeError, ValueError):
        return ""
    return str(document.get("message", ""))[:500] if isinstance(document, dict) else ""


def _certificate(error: Exception) -> bool:
    """Return whether a certificate ended it, wherever in the chain of causes."""
    seen: Exception | BaseException | None = error
    for _ in range(10):
        if seen is None:
            return False
        if isinstance(seen, ssl.SSLError | SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(seen):
            return True
        seen = getattr(seen, "reason", None) if isinstance(getattr(seen, "reason", None), Exception) else seen.__cause__
    return False
