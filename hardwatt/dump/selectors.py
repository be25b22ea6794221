"""The series that are dumped of a run by default."""

import re
from collections.abc import Callable, Iterable, Mapping

DEFAULT: Mapping[str, str] = {
    "apiserver_request_total": "",
    "container_cpu_usage_seconds_total": 'container="",image=""',
    "gotk_reconcile_duration_seconds_count": "",
    "gotk_reconcile_duration_seconds_sum": "",
    "hardwatt_meter_cpu_seconds_total": "",
    "hardwatt_meter_missed_ticks_total": "",
    "hardwatt_meter_read_timestamp_seconds": "",
    "hardwatt_node_cpu_seconds_total": "",
    "hardwatt_node_steal_seconds_total": "",
    "hardwatt_powercap_max_energy_range_joules": "",
    "hardwatt_unit_cpu_seconds_total": "",
    "hardwatt_unit_read_timestamp_seconds": "",
    "kepler_build_info": "",
    "kepler_container_cpu_seconds_total": "",
    "kepler_node_cpu_active_joules_total": 'zone="package"',
    "kepler_node_cpu_joules_total": 'zone="package"',
    "kepler_pod_cpu_joules_total": 'zone="package"',
    "kepler_process_cpu_seconds_total": 'container_id!=""',
    "node_rapl_dram_joules_total": "",
    "node_rapl_package_joules_total": "",
    "rest_client_requests_total": "",
    "scrape_duration_seconds": "",
    "up": "",
}
"""Metric -> matchers. Of the containers only cgroups that are no container: pods, kubepods, slices. Containers
inside a pod would count its CPU-seconds again, and the pod's own cgroup holds those of its dead containers too."""

PACKAGE = "node_rapl_package_joules_total"
_DIE = "node_rapl_package_[0-9]+_die_[0-9]+_joules_total"
DIES = f'{{__name__=~"{_DIE}"}}'
"""A die of a package has a metric of its own, whose name holds its numbers: they are asked for where packages are."""

REQUIRED = ("hardwatt_node_cpu_seconds_total", "up")
"""Without these in the window a dump is incomplete."""


def with_dies(selectors: Mapping[str, str], names: Callable[[str], Iterable[str]]) -> dict[str, str]:
    """Return the selectors, and those of dies where packages are among them; ``names`` asks for metrics."""
    dies = names(DIES) if PACKAGE in selectors else ()
    return {**selectors, **{name: "" for name in dies if re.fullmatch(_DIE, name)}}


def selector(metric: str, matchers: str) -> str:
    """Return the series selector in PromQL."""
    return f"{metric}{{{matchers}}}" if matchers else metric
