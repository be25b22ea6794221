"""The remote of the lab's repository: on the node, on another git server, or on GitHub."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from hardwatt.config.lab import Lab
from hardwatt.config.settings import Gitops
from hardwatt.connect import ssh_routes
from hardwatt.connect.endpoint import Endpoint
from hardwatt.core import credentials
from hardwatt.core.files import write_atomic
from hardwatt.gitops import github
from hardwatt.gitops.repository import Repository
from hardwatt.machines.lab_context import LabContext
from hardwatt.provision import git_keys

Kind = Literal["node", "ssh", "https", "github"]
_USER, _PASSWORD = "HARDWATT_GIT_USER", "HARDWATT_GIT_PASSWORD"
_HELPER = f"""!f() {{ test "$1" != get || printf 'username=%s\\npassword=%s\\n' "${_USER}" "${_PASSWORD}"; }}; f"""
"""A credential helper whose answer is in the environment: nothing on a command line, nothing on disk."""


@dataclasses.dataclass(frozen=True)
class GitRemote:
    """Addresses and keys with which this machine and Flux reach the lab's repository."""

    kind: Kind
    url: str
    """As this machine fetches and pushes."""
    sync: str
    """As Flux fetches."""
    env: Mapping[str, str] = dataclasses.field(repr=False)
    """What git needs to reach ``url``; flux too, where that is on the node."""
    key: Path | None = None
    """The private key that ``flux bootstrap git`` is given, for a server of somebody's."""
    known_hosts: tuple[str, ...] = ()
    """Host keys that Flux may store; with GitHub they are asked for at bootstrap."""
    password: str = dataclasses.field(default="", repr=False)
    """The token, or the password over HTTPS."""

    @property
    def on_node(self) -> bool:
        return self.kind == "node"


def kind(settings: Gitops) -> Kind:
    """Return where the settings put the lab's repository."""
    if settings.kind == "github":
        return "github"
    return "node" if not settings.url else "https" if settings.url.startswith("https:") else "ssh"


def git_remote_of(lab: Lab, endpoint: Endpoint | None = None) -> GitRemote:
    """Return where the lab's repository is. Asks for the token or password where one is needed; raises ``LabError``."""
    settings = lab.settings.gitops
    where = kind(settings)
    if where == "node":
        return _node(lab, endpoint or LabContext.of(lab).reached_endpoint())
    if where == "ssh":
        git_keys.ensure(lab)
        key = git_keys.path(lab, "controller")
        known_hosts = _known_hosts(lab, "url_known_hosts", settings.known_host)
        env = {"GIT_SSH_COMMAND": git_keys.ssh_command(key, known_hosts, settings.known_host.split()[1])}
        return GitRemote(where, settings.url, settings.url, env, key, (settings.known_host,))
    if where == "https":
        password = credentials.ask("GIT_PASSWORD", f"password of {settings.username} at {settings.url}")
        return GitRemote(
            where, settings.url, settings.url, _https(settings, settings.username, password), password=password
        )
    token = credentials.ask("GITHUB_TOKEN", f"token for {settings.hostname}").strip()
    path = f"{settings.owner}/{settings.repository}"
    return GitRemote(
        where,
        f"https://{settings.hostname}/{path}.git",
        f"ssh://git@{settings.ssh_hostname or settings.hostname}/{path}",
        _https(settings, settings.owner, token),
        known_hosts=(settings.known_host,) if settings.known_host else (),
        password=token,
    )


def copy(lab: Lab) -> Repository:
    """Return the lab's repository to read what was fetched last: nothing is asked for, and nothing is sent."""
    settings = lab.settings.gitops
    where = kind(settings)
    return Repository(lab.dir / "gitops" / _copy(where), "", settings.branch, lab.name)


def asks(settings: Gitops) -> bool:
    """Return whether a fetch would ask a person for a token or password."""
    names = {"github": "GITHUB_TOKEN", "https": "GIT_PASSWORD"}
    return (name := names.get(kind(settings), "")) != "" and not os.environ.get(name)


def _copy(where: Kind) -> str:
    # Another server's history is another copy: nothing of it is taken for this one's.
    return "lab.git" if where == "node" else f"{where}.git"


def repository(lab: Lab, name: str, endpoint: Endpoint | None = None) -> Repository:
    """Return the lab's repository (``lab``), or the node's one of workloads (``workload``)."""
    remote = git_remote_of(lab, endpoint) if name == "lab" else None
    if remote is None:
        node = _node(lab, endpoint or LabContext.of(lab).reached_endpoint(), name)
        return Repository(lab.dir / "gitops" / f"{name}.git", node.url, "main", lab.name, node.env)
    return Repository(
        lab.dir / "gitops" / _copy(remote.kind), remote.url, lab.settings.gitops.branch, lab.name, remote.env
    )


def _node(lab: Lab, endpoint: Endpoint, name: str = "lab") -> GitRemote:
    remote = git_keys.remote(endpoint)
    git_keys.ensure(lab)
    known_hosts = _known_hosts(lab, "known_hosts", remote.known_host)
    way = ssh_routes.git_proxy_options(endpoint, git_keys.PORT)
    command = git_keys.ssh_command(git_keys.path(lab, "controller"), known_hosts, way=way)
    env = {"GIT_SSH_COMMAND": command, "SSH_KNOWN_HOSTS": str(known_hosts)}
    url = remote.url(name)
    return GitRemote("node", url, url, env, known_hosts=(remote.known_host,))


def _known_hosts(lab: Lab, name: str, line: str) -> Path:
    path = lab.dir / "gitops" / name
    if not path.exists() or path.read_text() != f"{line}\n":
        write_atomic(path, f"{line}\n")
    return path


def _https(settings: Gitops, user: str, password: str) -> dict[str, str]:
    ca = github.ca_bundle(settings)
    return {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": "credential.helper",
        "GIT_CONFIG_VALUE_1": _HELPER,
        _USER: user,
        _PASSWORD: password,
        **({"GIT_SSL_CAINFO": str(ca)} if ca else {}),
    }
