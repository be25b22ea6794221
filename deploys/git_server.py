"""Serve the lab's git repositories over SSH, in a unit (and a cgroup) of its own.

Data of the host: ``git_keys`` (key name -> public key), ``git_access`` (key name -> repository ->
``ro`` or ``rw``) and ``git_port``.

A key runs one command alone, ``serve KEY`` (templates/git_serve.sh.j2), which git-shell finds in the
user's git-shell-commands; that looks into the access table and writes the log.
"""

from io import StringIO
from typing import Any

from pyinfra import host
from pyinfra.operations import files, git, server

from deploys import software
from deploys.labdata import lab, selinux_on, step
from deploys.operations import selinux, units

ROOT = "/srv/git"
CONFIG = "/etc/hardwatt/git"
KEYS = f"{CONFIG}/authorized_keys"
ACCESS = f"{CONFIG}/access"
UNIT = "/etc/systemd/system/hardwatt-git.service"
LOG = "/var/log/hardwatt/git.log"
REPOSITORIES = ("lab", "workload")
PROTECTED = "lab"
"""The repository whose history nobody may rewrite."""


@step("Git server", git_keys={}, git_access={}, git_port=2222)
def configure() -> None:
    """Make the git user, its keys, its repositories and hardwatt-git.service."""
    software.present("Packages", ["git", "openssh-server"])
    _user()
    for name in REPOSITORIES:
        _repository(name)
    _access()
    _service()


def _user() -> None:
    """A user whose shell is git-shell; its home, and all that decides about access, is root's."""
    server.user(  # noqa: S604 - the shell is the user's login shell
        name="Git user",
        user="git",
        home=ROOT,
        shell="/usr/bin/git-shell",
        ensure_home=False,
        system=True,
        # Not locked ("!"), which sshd refuses without PAM, and no password that matches.
        password="*",  # noqa: S106
    )
    for folder in (ROOT, f"{ROOT}/git-shell-commands", "/etc/hardwatt", CONFIG, "/var/log/hardwatt"):
        files.directory(name=f"Folder {folder}", path=folder, user="root", group="root", mode="755")
    files.file(name="Log of fetches and pushes", path=LOG, user="git", group="root", mode="644")


def _repository(name: str) -> None:
    path = f"{ROOT}/{name}.git"
    git.bare_repo(name=f"Repository {name}", path=path, user="git", group="git")
    files.put(
        name=f"Branch of {name}",
        src=StringIO("ref: refs/heads/main\n"),
        dest=f"{path}/HEAD",
        user="git",
        group="git",
        mode="644",
    )
    _written(
        f"Configuration of {name}",
        "git_config.j2",
        f"{path}/config",
        owner="git",
        protect=str(name == PROTECTED).lower(),
    )


def _written(name: str, template: str, path: str, mode: str = "644", owner: str = "root", **values: Any) -> None:
    files.template(name=name, src=f"templates/{template}", dest=path, user=owner, group=owner, mode=mode, **values)


def _access() -> None:
    """Who may do what: the forced commands of the keys, and the table they look into."""
    table = [
        (key, repository, mode) for key, rights in host.data.git_access.items() for repository, mode in rights.items()
    ]
    paths = {"git_root": ROOT, "git_log": LOG, "git_access": ACCESS}
    for name, template, path, mode, values in (
        ("Access table", "git_access.j2", ACCESS, "644", {"git_access_table": table}),
        ("Command of the keys", "git_serve.sh.j2", f"{ROOT}/git-shell-commands/serve", "755", paths),
        ("Keys", "git_authorized_keys.j2", KEYS, "644", {"git_keys": host.data.git_keys}),
    ):
        _written(name, template, path, mode, **values)


def _service() -> None:
    """Run a second sshd for git, whose sessions stay in its own cgroup."""
    config, count, port = f"{CONFIG}/sshd_config", f"{CONFIG}/count", host.data.git_port
    listens = {"git_port": port, "git_address": lab().node.address, "git_keys_file": KEYS}
    for name, template, path, mode, values in (
        ("sshd configuration", "git_sshd_config.j2", config, "644", listens),
        ("Counting", "git_count.sh.j2", count, "755", {}),
        ("Unit", "hardwatt-git.service.j2", UNIT, "644", {"git_sshd_config": config, "git_count": count}),
    ):
        _written(name, template, path, mode, **values)
    if selinux_on():
        software.present("semanage", ["policycoreutils-python-utils"])
        # a daemon that is sshd for the policy listens nowhere else
        selinux.port(name="Label of the port", port=f"{port}/tcp", kind="ssh_port_t")
    units.unit(name="Service", unit="hardwatt-git.service", files=[config, count])
