"""How often the counters are read that are measured with, where that is not once a second.

clusters/base is written for one second. On another cadence the two jobs that are measured with follow it, what is
faster is slowed down, and every window of a rule is longer or shorter by the same factor: it holds as many readings.
"""

import re
from collections.abc import Mapping

from hardwatt.gitops.flux import seconds

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


def rules(text: str, every: str) -> str:
    """Return the text of a rules file with its windows for this cadence."""
    factor = seconds(every) / seconds(BASE)
    return _WINDOW.sub(lambda found: f"[{_duration(factor * seconds(found[1]))}]", text)


def config_maps(base: Mapping[str, str], every: str, attribution: str, *, kepler: bool) -> dict[str, dict[str, str]]:
    """Return ConfigMap -> key -> text of what differs from clusters/base (``base``: texts by path)."""
    names = ("lab-alerts", f"recreated-{attribution}")
    found = {"prometheus-rules": {f"{name}.yaml": rules(base[RULES.format(name)], every) for name in names}}
    jobs = _INTERVAL.sub(lambda line: _measured(line, every), base[PROMETHEUS])
    found["prometheus-config"] = {"prometheus.yaml": jobs}
    if kepler:
        found |= {
            name: {key: _INTERVAL.sub(lambda line: _slowed(line, every), base[path])} for name, key, path in _KEPLER
        }
    return found


def _measured(line: re.Match[str], every: str) -> str:
    """Return the line of a job: one that is measured with follows, also where that is faster."""
    return f"{line[1]}{every}" if line[2] == BASE else _slowed(line, every)


def _slowed(line: re.Match[str], every: str) -> str:
    return f"{line[1]}{every}" if seconds(line[2]) < seconds(every) else line[0]


def _duration(value: float) -> str:
    ms = round(1000 * value)
    return f"{ms}ms" if ms % 1000 else f"{ms // 1000}s"
