"""What the meter's daemon is given on a node: its files and its configuration."""

from collections.abc import Sequence
from typing import Any, Literal

from hardwatt.core.errors import SettingsError
from hardwatt.meter import hardwatt_meter
from hardwatt.meter.models import FOLDER, Model

ROOT = "/var/lib/hardwatt/meter"
CONFIG = "/etc/hardwatt/meter.json"
NODE_FILES = {
    "/usr/local/lib/hardwatt/hardwatt_meter.py": FOLDER / "hardwatt_meter.py",
    "/etc/systemd/system/hardwatt-meter.service": FOLDER / "hardwatt-meter.service",
    "/etc/systemd/system/var-lib-hardwatt-meter-sysfs.mount": FOLDER / "var-lib-hardwatt-meter-sysfs.mount",
    "/etc/systemd/system/var-lib-hardwatt-meter-textfile.mount": FOLDER / "var-lib-hardwatt-meter-textfile.mount",
}
"""Path on the node -> file here. The two mounts come before the service; both may be enabled by systemd."""
DEFAULT_UNITS = ("hardwatt-git.service", "ssh.service", "sshd.service", "containerd.service", "kubelet.service")
"""Units whose CPU-seconds are shown apart; those that a node has not are left out by the daemon."""


def meter_config(
    *,
    source: Literal["modelled", "rapl"],
    model: Model | None,
    cpus: int,
    cpu: str = "procstat",
    units: Sequence[str] = DEFAULT_UNITS,
    force_model: bool = False,
) -> dict[str, Any]:
    """Return the content of /etc/hardwatt/meter.json for a node.

    ``cpu`` is "procstat", or the folder of the machine's own cgroup as the node sees it. ``cpus`` is what full
    load means. Raise SettingsError where the daemon would refuse it.
    """
    config: dict[str, Any] = {
        "source": source,
        "cpu": cpu,
        "cpus": cpus,
        "units": list(units),
        "force_model": force_model,
        "sysfs": f"{ROOT}/sysfs",
        "textfile": f"{ROOT}/textfile/hardwatt.prom",
        "state": f"{ROOT}/state.json",
    }
    if model is not None and source == "modelled":
        config["model"] = model.config(cpus)
    problems = hardwatt_meter.check_values({**hardwatt_meter.DEFAULTS, **config})
    if problems:
        raise SettingsError(f"the meter cannot run so: {'; '.join(problems)}")
    return config
