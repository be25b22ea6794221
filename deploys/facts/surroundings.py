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
echo "release_lock=$({{
  cat /etc/dnf/vars/releasever /etc/yum/vars/releasever
  # where subscription-manager keeps what `release --set` was told, and the addresses that it writes with it
  sed -n 's/.*"releaseVer" *: *"\([^"]*\)".*/\1/p' /var/lib/rhsm/cache/releasever.json
  sed -n 's,^ *baseurl *=.*/rhel[0-9]*/\([0-9]*\.[0-9]*\)/.*,\1,p' /etc/yum.repos.d/redhat.repo
  sed -n 's/^ *releasever *= *//p' /etc/dnf/dnf.conf /etc/yum.conf
}} 2>/dev/null | grep . | head -n 1)"
{{
  env
  systemctl show-environment 2>/dev/null
  cat /etc/environment /etc/profile.d/*.sh 2>/dev/null
}} | sed -n \
  -e 's/^ *\(export \)\{{0,1\}} *\(\(https\{{0,1\}}\|all\)_proxy\)=["'"'"']\{{0,1\}}[^"'"'"' ;].*/proxy=\2/Ip' \
  -e 's/^ *\(export \)\{{0,1\}} *no_proxy=["'"'"']\{{0,1\}}\([^"'"'"';]*\).*/no_proxy=\2/Ip'
{_UNITS}
if systemctl is-active --quiet NetworkManager; then echo network_manager=yes; fi
"""


class Surroundings(FactBase[dict[str, Any]]):
    """Return ``synchronised`` (None where nobody knows), ``uuid``, ``fips``, ``release_lock``, and lists.

    The lists: ``proxies`` (names of variables), ``no_proxy`` (hosts and networks that are not asked of
    a proxy), ``foreign`` (other container software that runs).
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
            "no_proxy": sorted({entry for text in all_of("no_proxy") for entry in text.replace(",", " ").split()}),
            "foreign": all_of("foreign"),
            "network_manager": values.get("network_manager") == "yes",
        }
