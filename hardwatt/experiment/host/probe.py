"""One look at the machine under the node: kernel settings, load, timers, sensors, as text, by one shell script.

It only reads. It runs where the node is: over SSH, and for the embedded node on this machine too, whose
kernel and processor are the node's. Nothing of it runs inside a window.
"""

from collections.abc import Callable, Iterable, Mapping

from hardwatt.connect.endpoint import Endpoint
from hardwatt.connect.ssh import Ssh
from hardwatt.core import process

ProbeAnswers = Mapping[str, str]
"""Name -> what was read, lines joined by ``;``. A name that is missing was not to be had."""

_CPU = "/sys/devices/system/cpu"
FILES = {
    "boost": f"{_CPU}/cpufreq/boost",
    "no_turbo": f"{_CPU}/intel_pstate/no_turbo",
    "smt": f"{_CPU}/smt/active",
    "governor": f"{_CPU}/cpu*/cpufreq/scaling_governor",
    "driver": f"{_CPU}/cpu0/cpufreq/scaling_driver",
    "idle_driver": f"{_CPU}/cpuidle/current_driver",
    "swaps": "/proc/swaps",
    "load": "/proc/loadavg",
    "stat": "/proc/stat",
    "memory": "/proc/meminfo",
    "nmi_watchdog": "/proc/sys/kernel/nmi_watchdog",
    "throttles": f"{_CPU}/cpu*/thermal_throttle/*_throttle_count",
    "power_limits": "/sys/class/powercap/intel-rapl:*/constraint_*_power_limit_uw",
    "machine_id": "/etc/machine-id",
    "board": "/sys/class/dmi/id/product_uuid",
}
COMMANDS = {
    "cpus": "nproc",
    "processor": (
        "{ sed -n 's/^model name[[:space:]]*: *//p' /proc/cpuinfo | grep . || "
        "LC_ALL=C lscpu | sed -n 's/^Model name: *//p'; } | head -n 1"
    ),
    "timers": "systemctl list-units --type=timer --state=active --plain --no-legend | sed 's/ .*//'",
    "cron": "ls /etc/cron.d /etc/cron.hourly /etc/cron.daily | grep -v '[:.]' | grep .",
    "cron_runs": "for comm in /proc/[0-9]*/comm; do grep -x -e cron -e crond $comm; done | head -n 1",
    "disk_free": "df -Pk /var/lib | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\\([0-9]*\\).*/\\1/p'",
    "clock_synchronised": "timedatectl show --property=NTPSynchronized --value",
    "virtualisation": "systemd-detect-virt",
    "sessions": "ls /run/systemd/sessions | grep -c -v '\\.ref$'",
    "rapl_filter": "od -An -td8 -j188 -N8 /dev/cpu/0/msr",
    "celsius": (
        "for zone in /sys/class/thermal/thermal_zone*; do case $(cat $zone/type) in x86_pkg_temp|cpu*|soc*) "
        "cat $zone/temp;; esac; done"
    ),
}
"""``rapl_filter`` is the model-specific register 0xbc, whose bit 0 says that the counter is blurred against
side channels (Intel, "Running Average Power Limit Energy Reporting", CVE-2020-8694)."""
SENSORS = ("celsius", "throttles")
IDENTITY = ("machine_id", "board")
"""Names of what tells one machine from another; ``machine_identity`` makes a hash of it, and nothing else sees it."""
_MARK = "@@@ "


def script(names: Iterable[str] = (*FILES, *COMMANDS)) -> str:
    """Return the shell script that reads these facts; what cannot be read is left out without a word."""
    parts = ["exec 2>/dev/null"]
    for name in names:
        body = f"cat {FILES[name]}" if name in FILES else COMMANDS[name]
        parts.append(f"echo '{_MARK}{name}'\n{body}")
    return "\n".join([*parts, "true"]) + "\n"


def parse(text: str) -> dict[str, str]:
    """Return the facts of a script's output; those that are empty are left out."""
    facts: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith(_MARK):
            lines = facts.setdefault(line.removeprefix(_MARK).strip(), [])
        elif line.strip():
            lines.append(line.strip())
    return {name: ";".join(content) for name, content in facts.items() if content}


def local(names: Iterable[str] = (*FILES, *COMMANDS)) -> dict[str, str]:
    """Look at this machine."""
    return parse(process.run(["sh", "-c", script(names)], env={"LC_ALL": "C"}, check=False, timeout=30).stdout)


def remote(endpoint: Endpoint, names: Iterable[str] = (*FILES, *COMMANDS)) -> dict[str, str]:
    """Look at the node over SSH."""
    with Ssh(endpoint) as ssh:
        return parse(ssh.run(f"LC_ALL=C sh -s <<'END'\n{script(names)}END\n", check=False).stdout)


def look(endpoint: Endpoint) -> dict[str, str]:
    """Look at the machine under a node; on the embedded node its own timers come from inside it."""
    if endpoint.kind != "embedded":
        return remote(endpoint)
    inside = remote(endpoint, ("timers", "cron", "cron_runs"))
    return {**local(), **{f"node_{name}": value for name, value in inside.items()}}


def reader(endpoint: Endpoint, facts: ProbeAnswers) -> Callable[[], ProbeAnswers]:
    """Return what reads the sensors that the first look found; without any, it asks nobody."""
    names = [name for name in SENSORS if name in facts]
    if not names:
        return dict
    return (lambda: local(names)) if endpoint.kind == "embedded" else (lambda: remote(endpoint, names))


def celsius(facts: ProbeAnswers) -> float | None:
    """Return the hottest of the processor's temperatures, or None."""
    temperatures = [int(value) / 1000 for value in facts.get("celsius", "").split(";") if value.lstrip("-").isdigit()]
    return max(temperatures, default=None)


def throttles(facts: ProbeAnswers) -> float | None:
    """Return how often heat slowed the processor down since it booted, over all cores; None: not shown."""
    counts = [int(value) for value in facts.get("throttles", "").split(";") if value.isdigit()]
    return float(sum(counts)) if counts else None


def cpu_shares(before: ProbeAnswers, after: ProbeAnswers) -> dict[str, float]:
    """Return the shares of CPU time between two looks: ``busy`` and ``steal``, 0 to 1."""
    first, second = (_cpu_line(facts) for facts in (before, after))
    if not first or not second or sum(second) <= sum(first):
        return {}
    moved = [new - old for old, new in zip(first, second, strict=True)]
    total = sum(moved[:8])
    return {"busy": 1 - (moved[3] + moved[4]) / total, "steal": moved[7] / total}


def _cpu_line(facts: ProbeAnswers) -> list[int]:
    line = facts.get("stat", "").partition(";")[0].split()
    return [int(value) for value in line[1:]] if line[:1] == ["cpu"] and len(line) >= 9 else []


def cores(facts: ProbeAnswers) -> int:
    """Return how many processors the machine shows; 0: not shown."""
    text = facts.get("cpus", "")
    return int(text) if text.isdigit() else 0
