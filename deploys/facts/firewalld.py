"""firewalld: whether it runs, and what it lets through now and after its next start."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

CONFIG = "/etc/firewalld/firewalld.conf"
ZONES = "/etc/firewalld/zones"

# firewall-cmd is asked for the rules of now; those of the next start are read from its files, because
# each question to firewall-cmd starts a Python program.
_SCRIPT = rf""": facts.firewalld
echo read=yes
if systemctl is-active --quiet firewalld; then
  echo active=yes
  device=$(ip -o route get 198.51.100.1 2>/dev/null | sed -n 's/.* dev \([^ ]*\) .*/\1/p')
  zone=$(firewall-cmd --get-zone-of-interface="$device" 2>/dev/null) ||
    zone=$(sed -n 's/^DefaultZone=//p' {CONFIG})
  echo "zone=$zone"
  echo "sources_now=$(firewall-cmd --zone=trusted --list-sources)"
  echo "ports_now=$(firewall-cmd --zone="$zone" --list-ports)"
  echo "sources_kept=$(sed -n 's/.*<source address="\([^"]*\)".*/\1/p' /etc/firewalld/zones/trusted.xml 2>/dev/null |
    tr '\n' ' ')"
  echo "ports_kept=$(sed -n 's,.*<port .*,&,p' "/etc/firewalld/zones/$zone.xml" 2>/dev/null |
    sed 's,.*port="\([^"]*\)" protocol="\([^"]*\)".*,\1/\2,; s,.*protocol="\([^"]*\)" port="\([^"]*\)".*,\2/\1,' |
    tr '\n' ' ')"
  echo "own=$(cd {ZONES} 2>/dev/null && ls | sed -n 's/\.xml$//p' | tr '\n' ' ')"
  echo "flush=$(sed -n 's/^FlushAllOnReload=//p' {CONFIG})"
fi
"""


_STATE = rf""": facts.firewalld
echo read=yes
if systemctl is-active --quiet firewalld; then
  echo active=yes
  echo "flush=$(sed -n 's/^FlushAllOnReload=//p' {CONFIG})"
fi
"""


class Firewalld(FactBase[dict[str, Any]]):
    """Return ``active``, the ``zone`` of the way out, and what is open now and is kept (permanent).

    Without ``rules`` only ``active`` and ``flush`` are asked for, and no Python program is started.
    ``own``: zones that have a file in /etc; the others are as the package has them. ``flush``: a reload of firewalld
    would also throw away the rules of kube-proxy and the pod network.
    """

    def command(self, rules: bool = True) -> str:
        return _SCRIPT if rules else _STATE

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        values = {key: value.strip() for key, _, value in (line.partition("=") for line in output)}
        lists = ("sources_now", "sources_kept", "ports_now", "ports_kept", "own")
        return {
            "active": values.get("active") == "yes",
            "zone": values.get("zone", ""),
            "flush": values.get("flush", "yes").lower() != "no",
            **{name: values.get(name, "").split() for name in lists},
        }
