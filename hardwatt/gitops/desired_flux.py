"""Flux as a lab wants it: what ``flux bootstrap`` is asked for, and how files and secrets in place differ from it."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import yaml

from hardwatt.core.errors import RefusedError

COMPONENTS = ("source-controller", "kustomize-controller")
"""Controllers without which nothing is applied."""
MORE_COMPONENTS = ("helm-controller", "notification-controller")
"""Controllers that run where their image can be had; nothing of the lab needs them."""
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclasses.dataclass(frozen=True)
class DesiredFlux:
    """Arguments and secrets that ``flux bootstrap`` is asked for."""

    version: str
    """Version of the flux CLI, with its ``v``."""
    url: str
    """Repository from which Flux fetches."""
    branch: str
    path: str
    interval: str
    public_keys: tuple[str, ...] = ()
    """Keys of which Flux has one: the lab's own, or GitHub's deploy keys; none over HTTPS."""
    known_hosts: tuple[str, ...] = ()
    """Host keys (lines of known_hosts) that Flux may have stored; none over HTTPS."""
    login: tuple[str, str] | None = dataclasses.field(default=None, repr=False)
    """User and password, over HTTPS."""
    components: tuple[str, ...] = COMPONENTS

    def secret_differs(self, secret: Mapping[str, str]) -> str:
        """Return what is wrong with the secret that Flux fetches with; empty if nothing is."""
        if self.login is not None:
            return "" if (secret.get("username"), secret.get("password")) == self.login else "Flux has another password"
        if "password" in secret:
            return "Flux holds a password that it does not need"
        known = {tuple(key.split()[:2]) for key in self.public_keys}
        return "" if tuple(secret.get("identity.pub", "").split()[:2]) in known else "Flux has another key"


def seconds(duration: str) -> float:
    """Return a Go duration (``1m0s``) in seconds."""
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", duration))


def outdated_files(wanted: DesiredFlux, components: str, sync: str) -> str:
    """Return why the two files that bootstrap writes must be written (again); empty if they need not.

    ``components`` and ``sync`` are the texts of gotk-components.yaml and gotk-sync.yaml.
    """
    header = dict(re.findall(r"^# (Flux Version|Components): *(\S+)$", components, re.MULTILINE))
    if header.get("Flux Version") != wanted.version:
        return f"the repository holds Flux {header.get('Flux Version', 'not yet')}, wanted is {wanted.version}"
    if sorted(header.get("Components", "").split(",")) != sorted(wanted.components):
        return f"the repository holds other components of Flux than {', '.join(wanted.components)}"
    if "GitRepository" not in sync:
        return "the repository does not hold yet what Flux syncs"
    documents = {item["kind"]: item["spec"] for item in yaml.safe_load_all(sync) if item}
    return outdated_sync(wanted, documents.get("GitRepository", {}), documents.get("Kustomization", {}))


def outdated_sync(wanted: DesiredFlux, source: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """Return how the specifications of Flux's source and root Kustomization differ from the wanted ones."""
    fields = {
        "url": (source.get("url"), wanted.url),
        "branch": (source.get("ref", {}).get("branch"), wanted.branch),
        "interval": (seconds(str(source.get("interval", ""))), seconds(wanted.interval)),
        "path": (str(root.get("path", "")).removeprefix("./").strip("/"), wanted.path),
    }
    return "; ".join(f"{name} is {has}, wanted is {want}" for name, (has, want) in fields.items() if has != want)


def known_host_differs(wanted: DesiredFlux, secret: Mapping[str, str]) -> str:
    """Return what is wrong with the host keys that Flux stored; empty if they are known ones.

    A server has a key of each type, so keys of one type are compared. A stored key of a type that the lab does not
    know is not evidence of another server: ``is_pinned`` tells whether Flux relies on it alone.
    """
    if not wanted.known_hosts:
        return ""
    stored = [line.split() for line in secret.get("known_hosts", "").splitlines() if line.strip()]
    known = [line.split()[1:3] for line in wanted.known_hosts]
    types = {key[0] for key in known}
    wrong = [line for line in stored if line[1:3] not in known and (len(line) < 3 or line[1] in types)]
    if wrong or not stored:
        offered = "; ".join(" ".join(line) for line in wrong) or "none"
        return f"Flux stored the host key {offered}; the lab knows {'; '.join(wanted.known_hosts)}"
    return ""


def is_pinned(wanted: DesiredFlux, secret: Mapping[str, str]) -> bool:
    """Return whether Flux fetches with known host keys alone: of a type that the lab does not know it has none."""
    lines = [line.split()[1:3] for line in secret.get("known_hosts", "").splitlines() if line.strip()]
    return not wanted.known_hosts or all(key in [line.split()[1:3] for line in wanted.known_hosts] for key in lines)


def verify_host_key(wanted: DesiredFlux, secret: Mapping[str, str]) -> None:
    """Compare the host key that Flux fetches with, which it took on trust, with the lab's own.

    Raises ``RefusedError`` on a difference.
    """
    if reason := known_host_differs(wanted, secret):
        raise RefusedError(
            reason,
            hint="something else answered at that address; find out what, then "
            "kubectl -n flux-system delete secret flux-system, and invoke lab.up",
        )
