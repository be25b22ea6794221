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
            word, _, rest = line.partition(" ")
            if word == "driver":
                drivers.append(rest.strip())
            elif word in seen:
                name, _, value = rest.rstrip().rpartition(" ")
                # A zone that cannot be read has no value; a name may hold spaces.
                seen[word].update({name: value} if name and value.isdigit() else {rest.strip(): ""})
        zones = {name: (seen["second"].get(name) != value) if value else None for name, value in seen["first"].items()}
        return {"zones": zones, "drivers": drivers}
