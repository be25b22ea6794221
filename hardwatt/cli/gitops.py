"""gitops.*: the lab's repository and Flux."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from hardwatt.cli.on_host import on_host
from hardwatt.cli.registry import LAB, command

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab


@command("gitops.clone", needs=LAB, arguments={"folder": "a new folder"})
@on_host(unless_git_elsewhere=True)
def gitops_clone(lab: Lab, folder: Path) -> None:
    """Clone the lab's repository into a folder that can push; prints the folder."""
    from hardwatt.gitops import control

    print(control.clone(lab, folder))


@command("gitops.suspend", needs=LAB)
@on_host()
def gitops_suspend(lab: Lab) -> None:
    """Suspend Flux's reconciling."""
    from hardwatt.gitops import control

    control.suspend(lab)


@command("gitops.resume", needs=LAB)
@on_host()
def gitops_resume(lab: Lab) -> None:
    """Resume Flux's reconciling."""
    from hardwatt.gitops import control

    control.resume(lab)


@command("gitops.status", needs=LAB, arguments={"as_json": "print JSON"})
@on_host()
def gitops_status(lab: Lab, *, as_json: bool = False) -> int:
    """Print each object of Flux: ready or not, at which commit, what it says; the exit code says whether all are."""
    from hardwatt.experiment.run import status
    from hardwatt.gitops import control

    rows = control.status_rows(lab, status.switched_off(lab))
    if as_json:
        print(json.dumps(rows, indent=2))
    elif rows:
        from hardwatt.energy.query import table  # with Prometheus' client and Polars: half a second

        print(table(rows))
    else:
        print("Flux is not in the cluster")
    return int(not rows or any(row["state"] != "ready" for row in rows))


@command("gitops.reconcile", needs=LAB)
@on_host()
def gitops_reconcile(lab: Lab) -> None:
    """Have Flux fetch and apply now, and wait until all of it is healthy; prints the commit."""
    from hardwatt.experiment.run import status
    from hardwatt.gitops import control

    with lab.lock("gitops.reconcile"):
        print(control.reconcile(lab, status.switched_off(lab)))


@command("gitops.show", needs=LAB)
@on_host(unless_git_elsewhere=True)
def gitops_show(lab: Lab) -> None:
    """Print the generated kustomization: what differs between labs, as the lab's repository holds it."""
    from hardwatt.gitops import control

    print(control.show(lab), end="")


@command("gitops.app", needs=LAB, arguments={"state": "on or off"}, values={"state": ("on", "off")})
@on_host()
def gitops_app(lab: Lab, state: str) -> None:
    """Switch the talk's mock application on or off, by a commit to the lab's repository that Flux applies."""
    from hardwatt.gitops import control

    with lab.lock("gitops.app"):
        print(control.app(lab, state))
