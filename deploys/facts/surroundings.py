"""Surroundings of the node on its machine: clocks, proxies, other container software."""

from collections.abc import Iterable
from typing import Any

from pyinfra.api import FactBase

from deploys.facts import pairs

FOREIGN = {
    "docker": "docker.service",
    "podman": "podman.socket",
    "cri-o": "crio.service",
    "k3s": "k3s.service",
    "k0s": "k0scontroller.service",
    "microk8s": "snap.microk8s.daemon-kubelite.service",
    "rke2": "rke2-server.service",
}
"""Other ways to run containers on a machine, by the unit that runs where they do."""

_UNITS = "\n".join(
    f"if systemctl is-active --quiet {unit}; then echo foreign={name}; fi" for name, unit in FOREIGN.items()
)

# Of proxies only the names of the variables are printed: their values may hold passwords.
_SCRIPT = rf""": facts.surroundings
echo "synchronised=$(timedatectl show -p NTPSynchronized --value 2>/dev/null)"
echo "uuid=$(cat /sys/class/dmi/id/product_uuid 2>/dev/null)"
echo "fips=$(cat /proc/sys/crypto/fips_enabled 2>/dev/null)"
echo "release_lock=$(cat /etc/dnf/vars/releasever /etc/yum/vars/releasever 2>/dev/null | head -n 1)"
env | sed -n 's/^\(https\{{0,1\}}_proxy\)=..*/proxy=\1/Ip'
sed -n 's/^ *\(export \)\{{0,1\}}\(https\{{0,1\}}_proxy\)=..*/proxy=\2/Ip' \
  /etc/environment /etc/profile.d/*.sh 2>/dev/null
{_UNITS}
if systemctl is-active --quiet NetworkManager; then echo network_manager=yes; fi
"""


class Surroundings(FactBase[dict[str, Any]]):
    """Return ``synchronised`` (None where nobody knows), ``uuid``, ``fips``, ``release_lock``, and lists.

    The lists: ``proxies`` (names of variables), ``foreign`` (other container software that runs).
    ``network_manager``: whether it runs.
    """

    def command(self) -> str:
        return _SCRIPT

    def process(self, output: Iterable[str]) -> dict[str, Any]:
        lines = list(output)
        values = pairs(lines)

        def all_of(key: str) -> list[str]:
            return sorted({line.partition("=")[2] for line in lines if line.startswith(f"{key}=")})

        return {
            "synchronised": {"yes": True, "no": False}.get(values.get("synchronised", "")),
            "uuid": values.get("uuid", ""),
            "fips": values.get("fips") == "1",
            "release_lock": values.get("release_lock", ""),
            "proxies": all_of("proxy"),
            "foreign": all_of("foreign"),
            "network_manager": values.get("network_manager") == "yes",
        }
