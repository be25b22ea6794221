"""Scrape interval of the measured counters, where that is not one second.

clusters/base is written for one second. On another cadence the two jobs that are measured with follow it, what is
faster is slowed down, and every window of a rule is longer or shorter by the same factor: it holds as many readings.
"""

import re
from collections.abc import Mapping

from hardwatt.gitops.desired_flux import seconds

BASE = "1s"
PROMETHEUS = "clusters/base/monitoring/controllers/prometheus/prometheus.yaml"
RULES = "clusters/base/monitoring/configs/{}.yaml"
_KEPLER = (
    ("prometheus-scrape-kepler", "kepler.yaml", "clusters/base/monitoring/kepler/scrape.yaml"),
    ("kepler-config", "config.yaml", "clusters/base/monitoring/kepler/config.yaml"),
)
"""ConfigMap, its key, and the file that it is made of."""
_WINDOW = re.compile(r"\[(\d+(?:ms|s|m))\]")
_INTERVAL = re.compile(r"^(\s*(?:scrape_interval|scrape_timeout|interval): )(\S+)$", re.MULTILINE)


def rules(text: str, interval: str) -> str:
    """Return the text of a rules file with its windows for this cadence."""
    factor = seconds(interval) / seconds(BASE)
    return _WINDOW.sub(lambda match: f"[{_duration(factor * seconds(match[1]))}]", text)


def config_maps(base: Mapping[str, str], interval: str, attribution: str, *, kepler: bool) -> dict[str, dict[str, str]]:
    """Return ConfigMap -> key -> text of what differs from clusters/base (``base``: texts by path)."""
    names = ("lab-alerts", f"recreated-{attribution}")
    maps = {"prometheus-rules": {f"{name}.yaml": rules(base[RULES.format(name)], interval) for name in names}}
    jobs = _INTERVAL.sub(lambda line: _measured(line, interval), base[PROMETHEUS])
    maps["prometheus-config"] = {"prometheus.yaml": jobs}
    if kepler:
        maps |= {
            name: {key: _INTERVAL.sub(lambda line: _slowed(line, interval), base[path])} for name, key, path in _KEPLER
        }
    return maps


def _measured(line: re.Match[str], interval: str) -> str:
    """Return the line of a job: one that is measured with follows, also where that is faster."""
    return f"{line[1]}{interval}" if line[2] == BASE else _slowed(line, interval)


def _slowed(line: re.Match[str], interval: str) -> str:
    return f"{line[1]}{interval}" if seconds(line[2]) < seconds(interval) else line[0]


def _duration(value: float) -> str:
    ms = round(1000 * value)
    return f"{ms}ms" if ms % 1000 else f"{ms // 1000}s"
