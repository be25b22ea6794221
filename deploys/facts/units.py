"""A systemd unit, and whether it runs with the files that are there now."""

import shlex
from collections.abc import Iterable

from pyinfra.api import FactBase

from deploys.facts import pairs


class Unit(FactBase[dict[str, bool]]):
    """Return ``exists``, ``active``, ``enabled``, ``reload`` and ``stale``.

    ``reload``: systemd has not read the unit's files as they are now. ``stale``: one of ``files``
    is newer than the unit's start, or its program has been replaced. So a run that was cut off
    between writing a file and restarting is made good by the next one.
    """

    def command(self, unit: str, files: list[str] | None = None) -> str:
        name = shlex.quote(unit)
        started = shlex.quote(f"/run/systemd/units/invocation:{unit}")
        watched = " ".join(shlex.quote(path) for path in files or [])
        lines = [
            f": facts.unit {name}",
            f"systemctl show {name} -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload",
            # a unit that somebody wrote this minute is not known before daemon-reload
            f"pid=$(systemctl show {name} -p MainPID --value)",
            'case "$(readlink /proc/$pid/exe 2>/dev/null)" in *"(deleted)") echo stale=yes;; esac',
        ]
        if watched:
            # systemd makes the link anew at each start
            lines.append(
                f"if test -L {started} && "
                f'test -n "$(find {watched} -newer {started} 2>/dev/null)"; then echo stale=yes; fi'
            )
        return "\n".join(lines)

    def process(self, output: Iterable[str]) -> dict[str, bool]:
        values = pairs(output)
        return {
            "exists": values.get("LoadState") in ("loaded", "masked"),
            "active": values.get("ActiveState") in ("active", "activating", "reloading"),
            "enabled": values.get("UnitFileState") in ("enabled", "static", "generated"),
            "reload": values.get("NeedDaemonReload") == "yes",
            "stale": values.get("stale") == "yes",
        }
