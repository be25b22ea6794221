"""Several bundles side by side: machines, versions, repeats. Writes compare.json; pages render it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardwatt.analysis import paired, pooling, ties
from hardwatt.analysis.figures import Json, figure, of_estimate, text
from hardwatt.analysis.results import analyse
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic

SCHEMA = "hardwatt.compare/1"
FEWEST_TO_POOL = 3


def compare(paths: Sequence[Path | str], output: Path | None = None) -> Json:
    """Analyse every bundle as planned and put the answers side by side; with *output*, write compare.json there.

    Raises `LabError` for fewer than two bundles, the same one twice, and bundles that did not measure the same thing.
    """
    folders = [Path(path) for path in paths]
    if len(folders) < 2:
        raise LabError("comparing needs two bundles or more", hint="hardwatt compare BUNDLE BUNDLE")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise LabError("the same bundle is given twice")
    results = [analyse(folder, write=False) for folder in folders]
    found = side_by_side(_names(folders), results)
    if output:
        write_atomic(output / "compare.json", text(found))
    return found


def side_by_side(names: Sequence[str], results: Sequence[Json]) -> Json:
    """Compare results by name; see `compare`."""
    _refuse(names, results)
    return {
        "schema": SCHEMA,
        "arms": [arm["name"] for arm in results[0]["arms"]],
        "outcome": results[0]["primary"]["outcome"],
        "direction": results[0]["primary"]["direction"],
        "level": results[0]["primary"]["level"],
        "bundles": [_row(name, one) for name, one in zip(names, results, strict=True)],
        "against_first": _against_first(names, results),
        "together": _together(results),
        "differs": _differs(names, results),
        "notes": _notes(results),
    }


def _names(folders: Sequence[Path]) -> list[str]:
    """Folder names; with their parent's where two are equal, and numbered where that is no help."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, start=1)]
    return names


def _refuse(names: Sequence[str], results: Sequence[Json]) -> None:
    for what, get in (
        ("arms", lambda one: [arm["name"] for arm in one["arms"]]),
        ("outcome", lambda one: one["primary"]["outcome"]),
        ("unit", lambda one: one["primary"]["estimate"]["unit"]),
        ("source of energy", lambda one: one["source"]["energy"] if one["source"]["headline"] == "joules" else ""),
    ):
        first = get(results[0])
        for name, one in zip(names[1:], results[1:], strict=True):
            if get(one) != first:
                raise LabError(
                    f"{names[0]} and {name} cannot be compared: their {what} is {first} and {get(one)}",
                    hint="compare bundles of one study",
                )


def _row(name: str, one: Json) -> Json:
    return {
        "name": name,
        "study": one["study"]["title"],
        "source": one["source"]["energy"],
        "n": one["n"],
        "window": one["window"],
        "estimate": one["primary"]["estimate"],
        "relative": one["primary"]["relative"],
        "per_commit": one["per_commit"],
        "detectable": one["primary"]["detectable"],
        "verdict": one["verdict"]["word"],
        "warnings": [check["name"] for check in one["checks"] if check["status"] != "ok"],
    }


def _differences(one: Json) -> list[float]:
    return [row["difference"]["value"] for row in one["pairs"]]


def _against_first(names: Sequence[str], results: Sequence[Json]) -> list[Json]:
    """How much larger the difference of the arms is in each bundle than in the first."""
    level = results[0]["primary"]["level"]["value"] / 100
    base, sample = _differences(results[0]), results[0]["primary"]["estimate"]
    rows = []
    for name, one in zip(names[1:], results[1:], strict=True):
        own = _differences(one)
        if not base or not own:
            empty = figure(None, sample["unit"], "no complete pair")
            rows.append({"name": name, "difference": empty, "method": "no complete pair"})
            continue
        found = pooling.welch(base, own, level)
        row = of_estimate(found, sample["unit"], f"{name} minus {names[0]}")
        rows.append({"name": name, "difference": row, "method": found.method})
    return rows


def _together(results: Sequence[Json]) -> Json | None:
    """All bundles together, from three on that have two pairs or more; ``None`` otherwise."""
    own = [values for one in results if len(values := _differences(one)) > 1 and ties.varies(values)]
    if len(own) < FEWEST_TO_POOL or len(own) < len(results):
        return None
    means = [paired.mean_difference(values).value for values in own]
    errors = [paired.standard_error(paired.differences(values)) ** 2 for values in own]
    found = pooling.pool(means, errors, results[0]["primary"]["level"]["value"] / 100)
    unit = results[0]["primary"]["estimate"]["unit"]
    return {
        "estimate": of_estimate(found.estimate, unit, "all bundles together"),
        "method": found.estimate.method,
        "same": figure(found.p, "1", "p-value of Cochran's Q: every bundle estimates the same"),
        "between": figure(found.between_variance**0.5, unit, "standard deviation between bundles"),
    }


def _differs(names: Sequence[str], results: Sequence[Json]) -> list[Json]:
    """Every fact that is not the same everywhere: plan, window, versions, host, formula."""
    facts = [_facts(one) for one in results]
    keys = sorted({key for one in facts for key in one})
    rows = []
    for key in keys:
        values = [one.get(key, "not recorded") for one in facts]
        if len(set(values)) > 1:
            rows.append({"what": key, "values": dict(zip(names, values, strict=True))})
    return rows


def _facts(one: Json) -> dict[str, str]:
    study: Mapping[str, Any] = one["study"]
    facts = {
        "plan": study["plan_sha256"][:12],
        "window": f"{one['window']['value']:g} {one['window']['unit']}",
        "source of energy": one["source"]["energy"],
        "formula of joules": one["source"]["formula"],
        "commits by window": _commits(one),
    }
    facts |= {f"version: {name}": value for name, value in one["versions"].items()}
    return facts | {f"host: {name}": value for name, value in one["host"].items()}


def _commits(one: Json) -> str:
    counts = {round(arm["commits"]["value"] / max(1, arm["windows"]["value"]), 2) for arm in one["arms"]}
    return " and ".join(f"{count:g}" for count in sorted(counts))


def _notes(results: Sequence[Json]) -> list[str]:
    notes = [
        "Bundles were not drawn by lot: what differs between them (below) is mixed up with every other difference."
    ]
    if any(one["n"]["value"] < 2 for one in results):
        notes.append("A bundle with fewer than two pairs has no interval.")
    if len({one["source"]["energy"] for one in results}) > 1:
        notes.append("Some joules are modelled and some measured: compare CPU-seconds only.")
    if len({one["window"]["value"] for one in results}) > 1:
        notes.append("Windows differ in length, so differences by window are not of one size.")
    return notes
