"""Energy counters of the processor: whether they can be read, and whether they count."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase


class Powercap(FactBase[dict[str, Any]]):
    """Return ``zones``: name to ``counts`` (two readings differ), and ``drivers`` that could be loaded.

    A zone that cannot be read is there with None.
    """

    def command(self) -> str:
        return r""": facts.powercap
echo read=yes
read_all() {
  for zone in /sys/class/powercap/*/; do
    test -e "$zone/energy_uj" || continue
    echo "$1 $(cat "$zone/name")@$(basename "$zone") $(cat "$zone/energy_uj" 2>/dev/null)"
  done
}
read_all first
sleep 1
read_all second
for driver in intel_rapl_msr intel_rapl_common; do
  if modprobe --dry-run "$driver" 2>/dev/null; then echo "driver $driver"; fi
done
"""

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        seen: dict[str, dict[str, str]] = {"first": {}, "second": {}}
        drivers = []
        for line in output:
            fields = line.split()
            if fields[0] == "driver":
                drivers.append(fields[1])
            elif fields[0] in seen:
                seen[fields[0]][fields[1]] = fields[2] if len(fields) > 2 else ""
        zones = {name: (seen["second"].get(name) != value) if value else None for name, value in seen["first"].items()}
        return {"zones": zones, "drivers": drivers}
