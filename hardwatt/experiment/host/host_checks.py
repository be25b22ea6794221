"""Checks of the machine under the node, made of one look at it (``hardwatt.experiment.host.probe``).

Those of the Green Metrics Tool that apply to a node of Kubernetes, and our own. Each says what it saw;
one that the machine does not show says so. A warning is about noise: the experiment runs, and the report
shows it. Only what makes the figures wrong fails.
"""

from collections.abc import Sequence

from hardwatt.bundle.model import Check, CheckStatus
from hardwatt.experiment.host import probe
from hardwatt.experiment.host.probe import ProbeAnswers

LEVELS: dict[CheckStatus, str] = {"ok": "INFO", "warning": "WARN", "failed": "ERROR"}
MEMORY_MIB, DISK_MIB = 2048, 1024
BUSY, STEAL = 0.5, 0.01
_KIB = 1024


def all_of(facts: ProbeAnswers, source: str, before: ProbeAnswers | None = None) -> list[Check]:
    """Return every check; ``before`` is an earlier look, for what is a rate (load, steal)."""
    return [
        _governor(facts),
        _turbo(facts),
        _setting(facts, "smt", good="0", says="threads share cores (SMT)"),
        _swap(facts),
        _timers(facts),
        _cron(facts),
        _load(facts),
        *_shares(facts, before),
        _thermal(facts),
        _rapl_filter(facts, source),
        _power_limits(facts),
        _clock(facts),
        _memory(facts),
        _disk(facts),
        _setting(facts, "nmi_watchdog", good="0", says="the kernel's watchdog interrupts every core"),
        _sessions(facts),
        _told(facts, "idle_driver", "sleep states of the processor"),
        _told(facts, "virtualisation", "virtualisation"),
    ]


def printed(checks: Sequence[Check]) -> list[str]:
    """Return one line for each check, with its level: INFO, WARN or ERROR."""
    return [f"{LEVELS[check.status]:5} {check.name}: {check.detail}" for check in checks]


def _check(name: str, bad: bool, detail: str) -> Check:
    return Check(name, "warning" if bad else "ok", detail)


def _hidden(name: str) -> Check:
    return Check(name, "ok", "not shown by this machine")


def _told(facts: ProbeAnswers, name: str, title: str) -> Check:
    return Check(title, "ok", facts[name]) if name in facts else _hidden(title)


def _setting(facts: ProbeAnswers, name: str, *, good: str, says: str) -> Check:
    if name not in facts:
        return _hidden(name)
    bad = facts[name] != good
    return _check(name, bad, says if bad else f"off ({facts[name]})")


def _governor(facts: ProbeAnswers) -> Check:
    if "governor" not in facts:
        return _hidden("governor")
    governors = sorted(set(facts["governor"].split(";")))
    detail = f"{', '.join(governors)} ({facts.get('driver', 'unknown driver')})"
    return _check("governor", governors != ["performance"], detail)


def _turbo(facts: ProbeAnswers) -> Check:
    if "no_turbo" in facts:
        on = facts["no_turbo"] == "0"
    elif "boost" in facts:
        on = facts["boost"] == "1"
    else:
        return _hidden("turbo")
    return _check("turbo", on, "on: the clock follows heat and load" if on else "off")


def _swap(facts: ProbeAnswers) -> Check:
    areas = facts.get("swaps", "").split(";")[1:]
    return _check("swap", bool(areas), f"{len(areas)} swap areas are on")


def _timers(facts: ProbeAnswers) -> Check:
    timers = [f"{name} (host)" if "node_timers" in facts else name for name in _list(facts, "timers")]
    timers += _list(facts, "node_timers")
    return _check(
        "timers", bool(timers), f"may fire inside a window: {', '.join(timers)}" if timers else "none is active"
    )


def _cron(facts: ProbeAnswers) -> Check:
    runs = [key for key in ("cron_runs", "node_cron_runs") if key in facts]
    jobs = sorted({*_list(facts, "cron"), *_list(facts, "node_cron")})
    if not runs:
        return Check("cron", "ok", "no cron runs")
    return _check("cron", bool(jobs), f"cron runs, with {', '.join(jobs) or 'no jobs'}")


def _list(facts: ProbeAnswers, name: str) -> list[str]:
    return [value for value in facts.get(name, "").split(";") if value]


def _load(facts: ProbeAnswers) -> Check:
    cores = probe.cores(facts)
    if "load" not in facts or not cores:
        return _hidden("load")
    load = float(facts["load"].split()[0])
    return _check("load", load > BUSY * cores, f"load {load:.2f} on {cores} cores before the start")


def _shares(facts: ProbeAnswers, before: ProbeAnswers | None) -> list[Check]:
    shares = probe.cpu_shares(before, facts) if before else {}
    if not shares:
        return [_hidden("steal")]
    busy, steal = shares["busy"], shares["steal"]
    return [
        _check("other load", busy > BUSY, f"the machine is {100 * busy:.0f} % busy, the node at rest included"),
        _check("steal", steal > STEAL, f"neighbours on the same hardware take {100 * steal:.1f} % of the CPU time"),
    ]


def _thermal(facts: ProbeAnswers) -> Check:
    celsius, throttles = probe.celsius(facts), probe.throttles(facts)
    if celsius is None and throttles is None:
        return _hidden("thermal")
    parts = [f"{celsius:.0f} °C"] if celsius is not None else []
    parts += [f"slowed down by heat {throttles:.0f} times since it booted"] if throttles is not None else []
    return _check("thermal", bool(throttles), ", ".join(parts))


def _rapl_filter(facts: ProbeAnswers, source: str) -> Check:
    name = "RAPL filtering"
    if source != "rapl":
        return Check(name, "ok", f"no part of it: joules are {source}")
    if not facts.get("rapl_filter", "").lstrip("-").isdigit():
        return _check(name, True, "not known: the register 0xbc cannot be read (it needs root and the module msr)")
    on = bool(int(facts["rapl_filter"]) & 1)
    return _check(name, on, "on: the counter is blurred, joules of short windows are off" if on else "off")


def _power_limits(facts: ProbeAnswers) -> Check:
    limits = [int(value) / 1e6 for value in _list(facts, "power_limits") if value.isdigit()]
    if not limits:
        return _hidden("power limits")
    return Check("power limits", "ok", ", ".join(f"{limit:g} W" for limit in limits))


def _clock(facts: ProbeAnswers) -> Check:
    said = facts.get("clock_synchronised", "")
    if said not in ("yes", "no"):
        return _hidden("clock service")
    return _check("clock service", said == "no", "synchronised" if said == "yes" else "the clock is not synchronised")


def _memory(facts: ProbeAnswers) -> Check:
    for line in _list(facts, "memory"):
        key, _, value = line.partition(":")
        if key == "MemAvailable":
            free = int(value.split()[0]) // _KIB
            return _check("memory", free < MEMORY_MIB, f"{free} MiB are free")
    return _hidden("memory")


def _disk(facts: ProbeAnswers) -> Check:
    if not facts.get("disk_free", "").isdigit():
        return _hidden("disk")
    free = int(facts["disk_free"]) // _KIB
    return _check("disk", free < DISK_MIB, f"{free} MiB are free under /var/lib")


def _sessions(facts: ProbeAnswers) -> Check:
    count = facts.get("sessions", "")
    if not count.isdigit():
        return _hidden("sessions")
    return _check("sessions", int(count) > 1, f"{count} login sessions are open")
