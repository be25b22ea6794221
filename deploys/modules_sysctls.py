"""Kernel modules and settings that containers and kube-proxy need."""

from io import StringIO

from pyinfra import host
from pyinfra.operations import files

from deploys.facts.kernel import Modules
from deploys.labdata import powercap, step
from deploys.operations import kernel

MODULES = ["overlay", "br_netfilter"]
SETTINGS = {
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.ipv4.ip_forward": "1",
}


@step("Kernel modules and settings")
def configure() -> None:
    """Load what is not built in, set what forwarding needs, and keep both over a boot."""
    # the driver of the energy counters, where the lab is to read them
    names = [*MODULES, *powercap()["drivers"][:1]]
    # whether a module can be loaded at all does not change by loading it
    modules = host.get_fact(Modules, names=names)
    loadable = [name for name in names if modules[name]["loadable"]]
    files.put(
        name="Modules to load at boot",
        src=StringIO("".join(f"{name}\n" for name in loadable)),
        dest="/etc/modules-load.d/hardwatt.conf",
        mode="644",
    )
    kernel.modules(name="Modules loaded", names=names)
    files.put(
        name="Settings at boot",
        src=StringIO("".join(f"{name} = {value}\n" for name, value in SETTINGS.items())),
        dest="/etc/sysctl.d/60-hardwatt.conf",
        mode="644",
    )
    kernel.settings(name="Settings now", values=SETTINGS)
