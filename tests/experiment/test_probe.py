"""The look at the machine under the node, and the checks made of it."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from hardwatt.bundle.model import Check
from hardwatt.connect.endpoint import Endpoint
from hardwatt.experiment.host import host_checks, probe

QUIET = {
    "governor": "performance;performance", "driver": "intel_pstate", "no_turbo": "1", "smt": "0",
    "load": "0.02 0.1 0.1",
    "swaps": "Filename Type Size Used Priority", "cpus": "4", "stat": "cpu 100 0 50 1000 5 0 5 0 0 0;cpu0 1",
    "memory": "MemTotal: 16000000 kB;MemAvailable:   8000000 kB", "disk_free": "90000000", "celsius": "41000;39000",
    "throttles": "0;0", "clock_synchronised": "yes", "nmi_watchdog": "0", "sessions": "1", "rapl_filter": "0",
    "idle_driver": "intel_idle", "virtualisation": "none", "power_limits": "95000000",
}  # fmt: skip
LATER = {**QUIET, "stat": "cpu 101 0 51 1198 5 0 5 0 0 0;cpu0 1"}


def by_name(facts: dict[str, str], source: str = "rapl", before: dict[str, str] | None = None) -> dict[str, Check]:
    return {check.name: check for check in host_checks.all_of(facts, source, before)}


def test_a_quiet_machine_has_nothing_to_warn_of() -> None:
    found = by_name(LATER, before=QUIET)
    assert {check.status for check in found.values()} == {"ok"}
    assert found["other load"].detail == "the machine is 1 % busy, the node at rest included"
    assert found["thermal"].detail == "41 °C, slowed down by heat 0 times since it booted"
    assert found["power limits"].detail == "95 W"


@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        ({"governor": "powersave;performance"}, "governor", "performance, powersave"),
        ({"no_turbo": "0"}, "turbo", "on"),
        ({"smt": "1"}, "smt", "threads share cores"),
        ({"swaps": "Filename;/dev/vda2 partition 1 0 -2"}, "swap", "1 swap areas"),
        ({"timers": "apt-daily.timer;fstrim.timer"}, "timers", "apt-daily.timer, fstrim.timer"),
        ({"timers": "a.timer", "node_timers": "b.timer"}, "timers", "a.timer (host), b.timer"),
        ({"cron_runs": "cron", "cron": "backup"}, "cron", "cron runs, with backup"),
        ({"load": "3.1 0 0"}, "load", "load 3.10 on 4 cores"),
        ({"stat": "cpu 1000 0 51 1000 5 0 5 0 0 0"}, "other load", "100 % busy"),
        ({"stat": "cpu 101 0 51 1098 5 0 5 100 0 0"}, "steal", "50.0 %"),
        ({"throttles": "3;1"}, "thermal", "slowed down by heat 4 times"),
        ({"rapl_filter": "1"}, "RAPL filtering", "blurred"),
        ({"clock_synchronised": "no"}, "clock service", "not synchronised"),
        ({"memory": "MemAvailable: 900000 kB"}, "memory", "878 MiB"),
        ({"disk_free": "1000"}, "disk", "0 MiB"),
        ({"nmi_watchdog": "1"}, "nmi_watchdog", "interrupts"),
        ({"sessions": "3"}, "sessions", "3 login sessions"),
    ],
)
def test_what_makes_noise_is_a_warning_that_says_what(change: dict[str, str], name: str, says: str) -> None:
    check = by_name({**LATER, **change}, before=QUIET)[name]
    assert check.status == "warning"
    assert says in check.detail


def test_what_a_machine_does_not_show_is_said_so_and_rapl_is_asked_for_where_it_counts() -> None:
    found = by_name({}, source="modelled")
    assert all(check.status == "ok" for check in found.values())
    assert found["governor"].detail == "not shown by this machine"
    assert found["RAPL filtering"].detail == "no part of it: joules are modelled"
    assert by_name({}, source="rapl")["RAPL filtering"].status == "warning"


def test_checks_are_printed_with_their_level() -> None:
    lines = host_checks.printed([Check("a", "ok", "x"), Check("b", "warning", "y"), Check("c", "failed", "z")])
    assert lines == ["INFO  a: x", "WARN  b: y", "ERROR c: z"]


def test_the_script_reads_this_machine_and_is_silent_about_what_is_not_there() -> None:
    done = subprocess.run(["sh", "-c", probe.script()], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    found = probe.parse(done.stdout)
    assert int(found["cpus"]) >= 1
    assert found["stat"].startswith("cpu ")
    assert "MemAvailable" in found["memory"]


def test_facts_without_content_are_left_out() -> None:
    assert probe.parse("@@@ smt\n0\n@@@ boost\n@@@ cron\na\n\nb\n") == {"smt": "0", "cron": "a;b"}


def test_sensors_are_asked_for_again_only_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def local(names: Any) -> dict[str, str]:
        asked.append(tuple(names))
        return {"celsius": "50000"}

    monkeypatch.setattr(probe, "local", local)
    end = Endpoint("n", "embedded", "a", 22, "root", Path("k"), Path("h"), "", "")
    assert probe.celsius(probe.reader(end, {})()) is None
    assert asked == []
    assert probe.celsius(probe.reader(end, {"celsius": "41000"})()) == 50.0
    assert asked == [("celsius",)]
