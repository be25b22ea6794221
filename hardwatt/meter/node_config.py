"""Files and configuration of the meter's daemon on a node."""

from collections.abc import Sequence
from typing import Any, Literal

from hardwatt.core.errors import SettingsError
from hardwatt.meter import meter_config as daemon_config
from hardwatt.meter.models import FOLDER, Model

ROOT = "/var/lib/hardwatt/meter"
CONFIG = "/etc/hardwatt/meter.json"
PAGE = f"{ROOT}/textfile/hardwatt.prom"
"""The metrics of the node."""
NODE_FILES = {
    "/usr/local/lib/hardwatt/hardwatt_meter.py": FOLDER / "hardwatt_meter.py",
    **{
        f"/usr/local/lib/hardwatt/hardwatt/meter/{name}": FOLDER / name
        for name in (
            "meter_config.py",
            "node_counters.py",
            "pod_cgroups.py",
            "record_file.py",
            "recorder.py",
            "zones.py",
        )
    },
    "/etc/systemd/system/hardwatt-meter.service": FOLDER / "hardwatt-meter.service",
    "/etc/systemd/system/var-lib-hardwatt-meter-record.mount": FOLDER / "var-lib-hardwatt-meter-record.mount",
    "/etc/systemd/system/var-lib-hardwatt-meter-sysfs.mount": FOLDER / "var-lib-hardwatt-meter-sysfs.mount",
    "/etc/systemd/system/var-lib-hardwatt-meter-textfile.mount": FOLDER / "var-lib-hardwatt-meter-textfile.mount",
}
"""Path on the node -> file here, the daemon first; it imports the others, which lie as in their package beside it. The
mounts come before the service; all may be enabled by systemd."""
WRITE_SECONDS, KEPLERS_WRITE_SECONDS = 1.0, 0.1
"""Seconds between two writings of metrics and modelled zones. Kepler 0.11.4 reads the zone each second, and resets its
counters if the zone stands still between two of its readings."""
RECORD = f"{ROOT}/record/recording"
"""The recorder's file; the one before it has the suffix ``.1``."""
RECORD_BYTES = 64 << 20
"""Bound of both files together; the mount's size leaves room beside it."""
DEFAULT_UNITS = (
    "hardwatt-git.service", "ssh.service", "sshd.service", "containerd.service", "crio.service", "kubelet.service",
)  # fmt: skip
"""Units whose CPU-seconds are shown apart; those that a node has not are left out by the daemon."""


def meter_config(
    *,
    source: Literal["modelled", "rapl"],
    model: Model | None,
    cpus: int,
    cpu: str = "procstat",
    units: Sequence[str] = DEFAULT_UNITS,
    force_model: bool = False,
    kepler: bool = False,
) -> dict[str, Any]:
    """Return the content of /etc/hardwatt/meter.json for a node.

    ``cpu`` is "procstat", or the folder of the machine's own cgroup as the node sees it. ``cpus`` is what full
    load means. ``kepler``: Kepler may read the modelled zone. Raise SettingsError where the daemon would refuse it.
    """
    config: dict[str, Any] = {
        "source": source,
        "cpu": cpu,
        "cpus": cpus,
        "units": list(units),
        "force_model": force_model,
        "sysfs": f"{ROOT}/sysfs",
        "textfile": PAGE,
        "podfile": f"{ROOT}/textfile/hardwatt_pods.prom",
        "write_seconds": KEPLERS_WRITE_SECONDS if kepler else WRITE_SECONDS,
        "record": RECORD,
        "record_bytes": RECORD_BYTES,
        "state": f"{ROOT}/state.json",
    }
    if model is not None and source == "modelled":
        config["model"] = model.config(cpus)
    problems = daemon_config.check_values({**daemon_config.DEFAULTS, **config})
    if problems:
        raise SettingsError(f"the meter cannot run so: {'; '.join(problems)}")
    return config
