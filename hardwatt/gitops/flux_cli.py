"""The flux CLI: its version, what it carries, and the bootstrap."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import yaml

from hardwatt.core import process
from hardwatt.core.errors import CommandError
from hardwatt.core.process import run
from hardwatt.core.wait import timeout_factor
from hardwatt.gitops.desired_flux import COMPONENTS, DesiredFlux
from hardwatt.gitops.errors import explain

BOOTSTRAP_MINUTES = 5
"""For a machine that is not emulated (``minutes``)."""


def minutes() -> int:
    """Return the minutes that a bootstrap gets."""
    return round(BOOTSTRAP_MINUTES * timeout_factor())


def bootstrap(argv: Sequence[str], secrets: Mapping[str, str], where: str, log: Path) -> None:
    """Run a ``flux bootstrap`` with its secrets in the environment; what it prints goes to ``log``.

    Raises ``LabError`` with what it said last.
    """
    try:
        run(argv, env=secrets, log=log, timeout=60 * minutes() + 60, tied=True,
            hint="invoke lab.status; invoke lab.up")  # fmt: skip
    except CommandError as error:
        raise explain(where, error) from error


def with_key(argv: Sequence[str], key: Path) -> list[str]:
    """Return the command as it runs beside an SSH agent with one key, which ends with it.

    Given no key file, ``flux bootstrap git`` takes the agent's key and the host keys of ``SSH_KNOWN_HOSTS``, and leaves
    the secret in the cluster as it is. Given one, it asks the server for its host key, believes the answer, and does
    not ask by way of a proxy.
    """
    # ssh-agent has a group's rights, and what follows it is not tied to us any more
    return ["ssh-agent", "sh", "-c", 'ssh-add -q "$0" && exec "$@"', str(key), *process.with_us(argv)]


def bootstrap_argv(flux: Path, kubeconfig: Path, wanted: DesiredFlux, source: Sequence[str]) -> list[str]:
    """Return the command line of ``flux bootstrap`` from ``source`` (``git --url=...`` or ``github ...``)."""
    return [
        str(flux), "bootstrap", *source,
        f"--branch={wanted.branch}", f"--path={wanted.path}", f"--interval={wanted.interval}",
        f"--components={','.join(wanted.components)}", f"--kubeconfig={kubeconfig}",
        f"--timeout={minutes()}m", "--force",
    ]  # fmt: skip


def carried(flux: Path, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return those of the controllers whose manifests this flux CLI carries: one built here has not all."""
    return tuple(
        name
        for name in wanted
        if run([flux, "install", "--export", f"--components={','.join((*COMPONENTS, name))}"], check=False).returncode
        == 0
    )


def version(flux: Path) -> str:
    """Return the version of the flux CLI (``v2.9.5``): what its manifests carry."""
    text = run([flux, "version", "--client", "--output=json"], timeout=30).stdout
    return "v" + cast(str, yaml.safe_load(text)["flux"]).removeprefix("v")
