"""Scrape interval of the lab's Prometheus, where that is not the one of clusters/base.

clusters/base is written for 15 s. On another interval the two jobs that read counters of the node follow it, other
jobs and Kepler are slowed down with it, and the windows of rules and of boards hold as many scrapes as before.
"""

import math
import re
from collections.abc import Mapping

from hardwatt.config.settings import DEFAULT_SCRAPE_INTERVAL as BASE
from hardwatt.gitops.desired_flux import seconds

__all__ = ["BASE", "PROMETHEUS", "RULES", "config_maps", "rules"]
PROMETHEUS = "clusters/base/monitoring/controllers/prometheus/prometheus.yaml"
DATASOURCE = "clusters/base/monitoring/grafana/datasource.yaml"
KEPLER_SCRAPE = "clusters/base/monitoring/kepler/scrape.yaml"
KEPLER_CONFIG = "clusters/base/monitoring/kepler/config.yaml"
RULES = "clusters/base/monitoring/configs/{}.yaml"
ALWAYS = ("lab-alerts", "recorded")
"""Files of rules that every lab has, beside one of the recreated metrics."""
EVALUATED_SECONDS = 3.0
"""The recorded rules are evaluated so often, because the metrics of 2022 are energy in 3 s."""
LONGEST_SECONDS = 240.0
"""An ended pod is shown for five minutes: its gain has to be spread, and a scrape may be late, before that is over."""
_MARK = "  # prometheus.scrape_interval"
"""Lines of a job that follow the setting also where it is shorter than in clusters/base."""
_INTERVAL = re.compile(r"^(\s*(scrape_interval|scrape_timeout): )(\S+?)(  # .*)?$", re.MULTILINE)
_KEPLERS_OWN = re.compile(r"^(  interval: )(\S+)$", re.MULTILINE)
_KEPLER_FASTEST = {KEPLER_SCRAPE: 3.0, KEPLER_CONFIG: 1.0}
"""Seconds below which no setting makes Kepler compute or be scraped."""


def rules(text: str, interval: str) -> str:
    """Return the text of a rules file with its windows for this interval."""
    every = seconds(interval)
    spread = _spread(every)
    alert = max(60.0, 4 * every)
    gaps = 8 * every
    windows = {
        "offset 60s": f"offset {_duration(spread)}",
        "[60s]": f"[{_duration(spread)}]",
        "[75s]": f"[{_duration(spread + every)}]",
        "/ 60 ": f"/ {spread:g} ",
        "[1m]": f"[{_duration(alert)}]",
        "[2m]": f"[{_duration(gaps)}]",
        "for: 30s": f"for: {_duration(max(30.0, 2 * every))}",
        "for: 2m": f"for: {_duration(max(120.0, gaps))}",
    }
    return re.sub("|".join(re.escape(window) for window in windows), lambda match: windows[match[0]], text)


def config_maps(base: Mapping[str, str], interval: str, attribution: str, *, kepler: bool) -> dict[str, dict[str, str]]:
    """Return ConfigMap -> key -> text of what differs from clusters/base (``base``: texts by path)."""
    names = (*ALWAYS, f"recreated-{attribution}")
    maps = {"prometheus-rules": {f"{name}.yaml": rules(base[RULES.format(name)], interval) for name in names}}
    maps["prometheus-config"] = {"prometheus.yaml": _INTERVAL.sub(lambda line: _job(line, interval), base[PROMETHEUS])}
    source = base[DATASOURCE].replace(f"timeInterval: {BASE}", f"timeInterval: {interval}")
    maps["grafana-provisioning"] = {"datasource.yaml": source}
    if kepler:
        maps["prometheus-scrape-kepler"] = {
            "kepler.yaml": _INTERVAL.sub(lambda line: _of_kepler(line[1], line[3], interval, KEPLER_SCRAPE),
                                         base[KEPLER_SCRAPE])
        }  # fmt: skip
        maps["kepler-config"] = {
            "config.yaml": _KEPLERS_OWN.sub(lambda line: _of_kepler(line[1], line[2], interval, KEPLER_CONFIG),
                                            base[KEPLER_CONFIG])
        }  # fmt: skip
    return maps


def _job(line: re.Match[str], interval: str) -> str:
    """Return a line of a job: the marked ones have this interval, none is shorter, no timeout is longer."""
    every, written = seconds(interval), seconds(line[3])
    if line[2] == "scrape_timeout":
        wanted = min(every, written) if line[4] == _MARK else written
    else:
        wanted = every if line[4] == _MARK else max(every, written)
    return f"{line[1]}{interval if wanted == every else _duration(wanted)}{line[4] or ''}"


def _of_kepler(before: str, written: str, interval: str, path: str) -> str:
    """Return a line of Kepler's: it follows a shorter interval down to its fastest, a scrape a longer one too."""
    every = max(seconds(interval), _KEPLER_FASTEST[path])
    wanted = every if path == KEPLER_SCRAPE else min(every, seconds(written))
    return f"{before}{_duration(wanted)}"


def _spread(every: float) -> float:
    """Return the seconds over which a pod's gain is spread: at least four scrapes, whole scrapes and evaluations.

    Otherwise the moment at which a pod worked would decide how much of it the evaluations add up to. A length that
    the five minutes of an ended pod do not hold is whole evaluations only.
    """
    scrape, evaluation = round(1000 * every), round(1000 * EVALUATED_SECONDS)
    for step in (math.lcm(scrape, evaluation), evaluation):
        spread = step * math.ceil(4 * scrape / step)
        if spread <= 1000 * LONGEST_SECONDS:
            break
    return spread / 1000


def _duration(value: float) -> str:
    ms = round(1000 * value)
    if ms % 1000:
        return f"{ms}ms"
    return f"{ms // 60_000}m" if ms % 60_000 == 0 else f"{ms // 1000}s"
