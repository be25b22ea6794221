"""systemd units that run with the files that are there now."""

import shlex

from pyinfra import host
from pyinfra.api import operation

from deploys.facts.units import Unit
from deploys.operations import Commands


@operation()
def unit(unit: str, files: list[str] | None = None, running: bool = True) -> Commands:
    """Enable a unit and, with ``running``, start it, or restart it where its files are newer.

    + unit: the unit, with its suffix
    + files: what it reads at its start
    + running: false leaves it to somebody else to start it
    """
    state = host.get_fact(Unit, unit=unit, files=sorted(files or []))
    quoted = shlex.quote(unit)
    # a unit file of this very run is not known to systemd before it has read its files again
    reload = state["reload"] or not state["exists"]
    start = running and not state["active"]
    restart = running and state["active"] and (state["stale"] or state["reload"])
    if not (reload or start or restart) and state["enabled"]:
        host.noop(f"{unit} is enabled" + (" and runs" if running else ""))
        return
    if reload:
        yield "systemctl daemon-reload"
    if not state["enabled"]:
        yield f"systemctl enable {quoted}"
    if start:
        yield f"systemctl start {quoted}"
    elif restart:
        yield f"systemctl restart {quoted}"
