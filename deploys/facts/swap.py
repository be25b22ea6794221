"""Swap that is on, and the units that switch it on."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase


class Swap(FactBase[dict[str, Any]]):
    """Return the swap ``devices`` in use, and the ``units`` of systemd that are loaded and not masked."""

    def command(self) -> str:
        return r""": facts.swap
echo read=yes
sed -n '2,$s/^\([^[:space:]]*\).*/device \1/p' /proc/swaps
systemctl list-units --type=swap --all --plain --no-legend 2>/dev/null | sed -n 's/^\([^ ]*\) *loaded .*/unit \1/p'
"""

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        swap: dict[str, Any] = {"devices": [], "units": []}
        for line in output:
            what, _, name = line.partition(" ")
            if name:
                swap[f"{what}s"].append(name)
        return swap
