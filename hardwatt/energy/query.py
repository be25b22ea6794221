"""The talk's queries by name, joules of the last hour, and any PromQL."""

import dataclasses
import json
import math
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from hardwatt.cluster import port_forward
from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.core.nearest import nearest
from hardwatt.core.progress import cells
from hardwatt.dump.client import Client
from hardwatt.instruments import live
from hardwatt.instruments.live import Energy
from hardwatt.instruments.windows import WindowError

NAMESPACE = "flux-system"
"""The namespace that the talk measured."""
EDGE_MS = 25_000
"""Samples are asked for so long before the window: one before its start is needed, and a scrape may be late."""
SETTLED_MS = 16_000
"""A window ends this long ago: Prometheus scrapes every 15 s at most, and one sample after the window is needed."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclasses.dataclass(frozen=True)
class Example:
    """One query of the talk."""

    what: str
    promql: str
    """With ``PODS`` where the matcher of a namespace goes."""
    unit: str
    zone: str
    grouping: str
    """The label that ``--last`` adds up by: ``pod``, ``namespace``, ``all`` or ``node``."""


EXAMPLES: Mapping[str, Example] = {
    "pod-package": Example(
        "CPU package energy of each pod", "pod_curr_energy_in_pkg_millijoulePODS", "mJ per 3 s", "package", "pod"
    ),
    "dram": Example("memory energy of each pod", "pod_curr_energy_in_dram_millijoulePODS", "mJ per 3 s", "dram", "pod"),
    "totals": Example(
        "active package energy of all pods since Prometheus started",
        "sum(pod_total_energy_in_pkg_millijoulePODS)", "mJ", "package", "all",
    ),
    "namespace-sum": Example(
        "package energy by namespace",
        "sum by (pod_namespace) (pod_curr_energy_in_pkg_millijoulePODS)", "mJ per 3 s", "package", "namespace",
    ),
    "node": Example("package energy of the node", "node_curr_energy_in_pkg_joule", "J per 3 s", "package", "node"),
}  # fmt: skip
Row = dict[str, Any]


def query(lab: Lab, text: str, *, last: str = "", namespace: str = NAMESPACE, as_json: bool = False) -> str:
    """Answer one of ``EXAMPLES`` or any PromQL from the lab's Prometheus; return a table or JSON.

    ``last`` (``1h``) gives joules of that long, of a named query, computed from raw samples. ``namespace`` narrows
    the named queries; ``all`` does not. Raises ``LabError``.
    """
    example = EXAMPLES.get(text)
    if last and example is None:
        raise LabError(
            "--last gives joules for a query by name: with PromQL the window is in the query itself",
            hint=f"choose from: {', '.join(EXAMPLES)}",
        )
    length = seconds(last) if last else 0
    with Client(port_forward.prometheus_url(lab)) as client:
        if example is None:
            rows = _answer(client, text)
            _refuse_nothing(rows, text)
        elif last:
            rows = joules(client, example, length, namespace)
        else:
            rows = [{**row, "unit": example.unit} for row in _answer(client, promql(example, namespace))]
            _refuse_nothing(rows, text)
    return json.dumps(rows, indent=2) if as_json else table(rows)


def promql(example: Example, namespace: str) -> str:
    """Return the PromQL of a named query for one namespace, or for ``all``."""
    if not re.fullmatch(r"[a-z0-9-]+", namespace):
        raise LabError(f"{namespace!r} is not the name of a namespace", hint="--namespace flux-system")
    matcher = "" if namespace == "all" else f'{{pod_namespace="{namespace}"}}'
    return example.promql.replace("PODS", matcher)


def seconds(text: str) -> int:
    """Return a duration such as ``90s``, ``5m`` or ``1h`` in seconds. Raises ``SettingsError``."""
    parts = re.fullmatch(r"(\d+)([smhd])", text)
    if parts is None or int(parts[1]) == 0:
        raise SettingsError(f"--last {text!r} is not a duration", hint="--last 5m, or 1h")
    return int(parts[1]) * _SECONDS[parts[2]]


def joules(client: Client, example: Example, length: int, namespace: str) -> list[Row]:
    """Return the joules of the last ``length`` seconds, by what the query adds up by."""
    end = int(time.time() * 1000) - SETTLED_MS
    start = end - length * 1000
    reach = length + (EDGE_MS + SETTLED_MS) // 1000
    samples = {
        metric: client.samples(f"{selector}[{reach}s]", end + SETTLED_MS)[0]
        for metric, selector in live.selectors(example.zone).items()
    }
    try:
        rows = live.energy(samples, example.zone, start, end)
    except WindowError as error:
        raise LabError(
            f"the last {length} s cannot be told: {error.reason}",
            hint="a shorter --last where Prometheus has started since; else invoke meter.list and lab.status",
        ) from error
    return grouped(rows, example.grouping, namespace)


def grouped(rows: Sequence[Energy], grouping: str, namespace: str) -> list[Row]:
    """Add up pods by ``pod``, ``namespace``, ``all``; or take the ``node`` itself."""
    if grouping == "node":
        chosen = [row for row in rows if not row.pod]
    else:
        chosen = [row for row in rows if row.pod and namespace in ("all", row.namespace)]
    keys = {"node": ("node",), "pod": ("namespace", "pod"), "namespace": ("namespace",), "all": ()}[grouping]
    sums: dict[tuple[str, ...], list[Energy]] = {}
    for row in chosen:
        sums.setdefault(tuple(getattr(row, key) for key in keys), []).append(row)
    return [
        {
            **dict(zip(keys, values, strict=True)),
            "joules": round(sum(part.joules.value for part in parts), 3),
            "low": round(sum(part.joules.low for part in parts), 3),
            "high": round(sum(part.joules.high for part in parts), 3),
            "cpu_seconds": round(sum(part.cpu_seconds.value for part in parts), 3),
            "source": parts[0].joules.source,
        }
        for values, parts in sums.items()
    ]


def _answer(client: Client, text: str) -> list[Row]:
    answer: list[Any] = client.query(text)
    if len(answer) == 2 and isinstance(answer[1], str):  # [time, value]: a scalar or a string, which has no labels
        return [{"value": _value(answer[1])}]
    return [_row(series) for series in answer]


def _row(series: Any) -> Row:
    """Return labels and value of one series. Raises ``LabError`` for a series that has no single value."""
    if "histogram" in series:
        raise LabError(
            "a table needs one value for each series: this query gives histograms", hint="histogram_sum(...) has one"
        )
    if "value" not in series:
        raise LabError("a table needs one value for each series: this query gives many", hint="leave [...] out")
    labels = {key: value for key, value in series["metric"].items() if key != "__name__"}
    # [time, value]: the first is no energy.
    return {**labels, "value": _value(series["value"][1])}


def _value(text: str) -> float | str:
    """Return a number; JSON has none for NaN and the infinities, so they stay text, as a string does."""
    try:
        number = float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) else text


def _refuse_nothing(rows: Sequence[Row], text: str) -> None:
    if rows:
        return
    if text == "dram":
        raise LabError("dram has no answer: no node of this lab has a dram zone", hint="invoke meter.list")
    if text in EXAMPLES:
        raise LabError(
            f"{text} has no answer yet: Prometheus reads its rules up to two minutes after it started",
            hint=f"invoke energy.query {text} --last 1m needs no rules; for PromQL invoke lab.forward prometheus",
        )
    if near := nearest(text, EXAMPLES):
        raise LabError(f"{text} has no answer; did you mean {near}?", hint=f"invoke energy.query {near}")
    raise LabError(f"{text} has no answer", hint="invoke lab.status; by name: " + ", ".join(EXAMPLES))


def table(rows: Sequence[Row]) -> str:
    """Return rows as a table; columns in the order of the first row that has them."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    made = Table(*(Column(text) for text in cells(*columns)))
    for row in rows:
        made.add_row(*cells(*(_cell(row.get(column, "")) for column in columns)))
    console = Console(width=200)
    with console.capture() as captured:
        console.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
