"""JSON of measurement tools to tables: hyperfine, pytest-benchmark, the Green Metrics Tool, Prometheus."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from hardwatt.analysis.tables.decode import Decoded
from hardwatt.analysis.tables.grid import Grid, Layout, Roles, shown
from hardwatt.core.errors import LabError

Row = Mapping[str, object]
IMPORT: Final = (
    "for the energy of runs: hardwatt experiment.import FILE --source rapl --runs RUNS.csv (run_id,arm,block,position,"
    "start,end); or ask the server for one value of each run (an instant query)"
)
_KNOWN: Final = "hyperfine, pytest-benchmark, the Green Metrics Tool's comparison, Prometheus' instant answer"


def read(decoded: Decoded, file: str) -> Grid:
    """Read JSON of a known tool.

    Raises `LabError` with line and column of a mistake, and for JSON of no known tool.
    """
    try:
        document = json.loads(decoded.text)
    except json.JSONDecodeError as error:
        raise LabError(
            f"{file}, line {error.lineno}, column {error.colno}: {error.msg}", hint="write the file again as JSON"
        ) from None
    except RecursionError:
        raise LabError(f"{file} is nested too deeply to be a table") from None
    for recognised, make in _TOOLS:
        if recognised(document):
            try:
                return make(document, file, decoded)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise LabError(
                    f"{file} looks like a known tool's output, and a part is missing or has another shape: {reason}",
                    hint="write it again with a current version of the tool, or make a CSV of it",
                ) from None
    raise LabError(f"{file} is JSON of no known tool; known: {_KNOWN}", hint="make a CSV of it: arm,value")


def grid(
    rows: Sequence[Row], file: str, decoded: Decoded, kind: str, roles: Roles, notes: tuple[str, ...] = ()
) -> Grid:
    """Return rows of any columns as a table; what a row lacks is blank."""
    if not rows:
        raise LabError(f"{file} has no measured runs", hint="write it again after a measurement")
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [_text(row.get(name)) for row in rows] for name in names}
    layout = Layout(kind, decoded.encoding, decimal=".", compression=decoded.compression, notes=notes)
    return Grid(file, tuple(names), columns, range(1, len(rows) + 1), layout, roles=roles, line_word="run")


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_hyperfine(document: Any) -> bool:
    results = document.get("results") if isinstance(document, dict) else None
    return (
        isinstance(results, list)
        and bool(results)
        and all(isinstance(result, dict) for result in results)
        and all("command" in result for result in results)
    )


def _hyperfine(document: Any, file: str, decoded: Decoded) -> Grid:
    """``--export-json``: every command with the seconds of each run, and its exit codes where there are any."""
    rows: list[Row] = []
    left_out = []
    for result in document["results"]:
        times = result.get("times")
        if not times:
            raise LabError(
                f"{file} has means and no single times of {shown(str(result['command']))}",
                hint="hyperfine --export-json keeps the times; --export-csv does not",
            )
        codes, memory = result.get("exit_codes") or [], result.get("memory_usage_byte") or []
        parameters = {str(name): str(value) for name, value in (result.get("parameters") or {}).items()}
        for number, seconds in enumerate(times):
            code = codes[number] if number < len(codes) else 0
            if code != 0:
                reason = "the command was ended by a signal" if code is None else f"the command ended with {code}"
                left_out.append((len(rows), reason))
            row = {"command": str(result["command"]), "run": number, "time (s)": float(seconds), **parameters}
            rows.append(row | ({"memory (bytes)": memory[number]} if number < len(memory) else {}))
    note = (
        "hyperfine makes all runs of a command one after another: what drifts between the commands counts as a "
        "difference of them."
    )
    roles = Roles("time (s)", "command", "s", factors=(), labels=("run",))
    made = grid(rows, file, decoded, "hyperfine", roles, (note,))
    return replace(made, left_out=tuple(left_out))


def _is_pytest_benchmark(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("benchmarks"), list) and "machine_info" in document


def _pytest_benchmark(document: Any, file: str, decoded: Decoded) -> Grid:
    """``--benchmark-json``: every benchmark with its statistics, and with ``data`` the seconds of each round."""
    rows: list[Row] = []
    for benchmark in document["benchmarks"]:
        data = benchmark["stats"].get("data")
        if not data:
            raise LabError(
                f"{file} has statistics and no single rounds of {shown(str(benchmark['name']))}",
                hint="pytest --benchmark-save-data --benchmark-json FILE keeps the rounds",
            )
        about = {"name": str(benchmark["name"]), "group": benchmark.get("group"), "param": benchmark.get("param")}
        rows += [{**about, "round": number, "time (s)": float(seconds)} for number, seconds in enumerate(data)]
    note = (
        "Rounds of pytest-benchmark are repetitions inside one process. They say how much a round scatters, and not "
        "how much a further process would differ."
    )
    roles = Roles("time (s)", "name", "s", factors=(), labels=("round", "param", "group"))
    return grid(rows, file, decoded, "pytest-benchmark", roles, (note,))


def _is_green_metrics(document: Any) -> bool:
    inner = document if isinstance(document, dict) else {}
    if "comparison_case" not in inner:
        inner = inner.get("data", {})
    return isinstance(inner, dict) and "comparison_case" in inner and isinstance(inner.get("data"), dict)


def _green_metrics(document: Any, file: str, decoded: Decoded) -> Grid:
    """The answer of ``/v1/compare``: phase, metric, detail and what is compared, with a value of each run.

    Every metric of a phase becomes a column, because its unit is its own.
    """
    if document.get("success") is False:
        raise LabError(f"{file} is an answer that failed: {shown(str(document.get('err', 'no reason')))}")
    inner = document["data"] if "comparison_case" not in document else document
    rows: dict[tuple[str, int], dict[str, object]] = {}
    case = str(inner["comparison_case"])
    for phase, phases in inner["data"].items():
        for metric, metrics in phases["data"].items():
            for detail, details in metrics["data"].items():
                column = f"{phase} {metric} {detail} ({metrics['unit']})"
                for compared, runs in details["data"].items():
                    for number, value in enumerate(runs["values"]):
                        row = rows.setdefault((compared, number), {case: compared, "run": number})
                        row[column] = value
    roles = Roles(arm=case, factors=(), labels=("run",))
    ordered = sorted(rows, key=lambda key: (list(dict.fromkeys(name for name, _ in rows)).index(key[0]), key[1]))
    return grid([rows[key] for key in ordered], file, decoded, "Green Metrics Tool", roles)


def _is_prometheus(document: Any) -> bool:
    return isinstance(document, dict) and "status" in document and ("data" in document or "error" in document)


def _prometheus(document: Any, file: str, decoded: Decoded) -> Grid:
    """An instant answer: every series with one value. A range answer has no runs, and is refused."""
    refuse_partial(document, file)
    data = document["data"]
    if data.get("resultType") == "matrix":
        lengths = [len(series["values"]) for series in data["result"]]
        raise LabError(
            f"{file} is a range answer of Prometheus ({len(lengths)} series, {sum(lengths)} values): its values repeat "
            "scrapes at a step of the question, and are neither samples nor runs",
            hint=IMPORT,
        )
    if data.get("resultType") != "vector":
        raise LabError(f"{file} is an answer of type {shown(str(data.get('resultType')))}, which has no series")
    series = [(series["metric"], series["value"][1]) for series in data["result"]]
    return by_labels(series, file, decoded, "Prometheus")


def refuse_partial(document: Mapping[str, Any], file: str) -> None:
    """Raise `LabError` unless an answer is a whole success, in each server's own words for a partial one."""
    if document.get("status") != "success":
        raise LabError(f"{file} is an answer that failed: {shown(str(document.get('error', document.get('status'))))}")
    partial = document.get("isPartial") or document.get("partial") or document.get("partialResponse")
    warnings = document.get("warnings") or []
    if partial or warnings:
        reason = "; ".join(shown(str(warning)) for warning in warnings[:3]) or "the server marks it as partial"
        raise LabError(
            f"{file} is a partial answer: {reason}", hint="ask again once every source of the server answers"
        )


def by_labels(series: Iterable[tuple[Mapping[str, str], str]], file: str, decoded: Decoded, kind: str) -> Grid:
    """Return series as a table: a row for each set of labels, a column for each metric.

    Raises `LabError` if a series stands twice.
    """
    rows: dict[tuple[tuple[str, str], ...], dict[str, object]] = {}
    for labels, value in series:
        own = {name: text for name, text in labels.items() if name != "__name__"}
        row = rows.setdefault(tuple(sorted(own.items())), dict(own))
        metric = labels.get("__name__", "value")
        if metric in row:
            raise LabError(f"{file} has the series {shown(metric)} with equal labels twice: {shown(str(own))}")
        row[metric] = value
    return grid(list(rows.values()), file, decoded, kind, Roles())


_TOOLS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, str, Decoded], Grid]], ...]] = (
    (_is_hyperfine, _hyperfine),
    (_is_pytest_benchmark, _pytest_benchmark),
    (_is_green_metrics, _green_metrics),
    (_is_prometheus, _prometheus),
)
