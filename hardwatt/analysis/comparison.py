"""Several bundles side by side: machines, versions, repeats. Writes compare.json; pages render it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hardwatt.analysis import paired, pooling, ties
from hardwatt.analysis.contract import as_json, parse
from hardwatt.analysis.figures import Json, figure, known, of_estimate, text
from hardwatt.analysis.model import AgainstFirst, ComparedBundle, Comparison, Differs, Results, Together
from hardwatt.analysis.results import analysed
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic

SCHEMA: Final = "hardwatt.compare/1"
FEWEST_TO_POOL = 3


def compare(paths: Sequence[Path | str], output: Path | None = None) -> Json:
    """Analyse every bundle as planned and put the answers side by side; with *output*, write compare.json there.

    Returns `hardwatt.analysis.model.Comparison` as plain dicts and lists.

    Raises `LabError` for fewer than two bundles, the same one twice, and bundles that did not measure the same thing.
    """
    results = compared(paths)
    if output:
        write_atomic(output / "compare.json", text(results))
    plain: Json = as_json(results)
    return plain


def compared(paths: Sequence[Path | str]) -> Comparison:
    """Analyse every bundle as planned and return the typed comparison without writing it; see `compare`."""
    folders = [Path(path) for path in paths]
    if len(folders) < 2:
        raise LabError("comparing needs two bundles or more", hint="hardwatt compare BUNDLE BUNDLE")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise LabError("the same bundle is given twice")
    return _compared(_names(folders), [analysed(folder) for folder in folders])


def side_by_side(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Json:
    """Compare results, as `analyse` returns them, by name; see `compare`."""
    typed = [parse(Results, one, name) for name, one in zip(names, results, strict=True)]
    found: Json = as_json(_compared(names, typed))
    return found


def _compared(names: Sequence[str], results: Sequence[Results]) -> Comparison:
    _refuse(names, results)
    first = results[0]
    return Comparison(
        schema=SCHEMA,
        arms=[arm.name for arm in first.arms],
        outcome=first.primary.outcome,
        direction=first.primary.direction,
        level=first.primary.level,
        bundles=[_row(name, one) for name, one in zip(names, results, strict=True)],
        against_first=_against_first(names, results),
        together=_together(results),
        differs=_differs(names, results),
        notes=_notes(results),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Folder names; with their parent's where two are equal, and numbered where that is no help."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.resolve().parent.name}/{folder.resolve().name}" for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{number}: {name}" for number, name in enumerate(names, start=1)]
    return names


def _refuse(names: Sequence[str], results: Sequence[Results]) -> None:
    shared: Mapping[str, Callable[[Results], object]] = {
        "arms": lambda one: [arm.name for arm in one.arms],
        "outcome": lambda one: one.primary.outcome,
        "unit": lambda one: one.primary.estimate.unit,
        "source of energy": lambda one: one.source.energy if one.source.headline == "joules" else "",
    }
    for what, get in shared.items():
        first = get(results[0])
        for name, one in zip(names[1:], results[1:], strict=True):
            if get(one) != first:
                raise LabError(
                    f"{names[0]} and {name} cannot be compared: their {what} is {first} and {get(one)}",
                    hint="compare bundles of one study",
                )


def _row(name: str, one: Results) -> ComparedBundle:
    return ComparedBundle(
        name=name,
        study=one.study.title,
        source=one.source.energy,
        n=one.n,
        window=one.window,
        estimate=one.primary.estimate,
        relative=one.primary.relative,
        per_commit=one.per_commit,
        detectable=one.primary.detectable,
        verdict=one.verdict.word,
        warnings=[check.name for check in one.checks if check.status != "ok"],
    )


def _differences(one: Results) -> list[float]:
    return [known(row.difference) for row in one.pairs]


def _against_first(names: Sequence[str], results: Sequence[Results]) -> list[AgainstFirst]:
    """How much larger the difference of the arms is in each bundle than in the first."""
    level = known(results[0].primary.level) / 100
    base, sample = _differences(results[0]), results[0].primary.estimate
    rows = []
    for name, one in zip(names[1:], results[1:], strict=True):
        own = _differences(one)
        if not base or not own:
            empty = figure(None, sample.unit, "no complete pair")
            rows.append(AgainstFirst(name, empty, "no complete pair"))
            continue
        found = pooling.welch(base, own, level)
        row = of_estimate(found, sample.unit, f"{name} minus {names[0]}")
        rows.append(AgainstFirst(name, row, found.method))
    return rows


def _together(results: Sequence[Results]) -> Together | None:
    """All bundles together, from three on that have two pairs or more; ``None`` otherwise."""
    own = [values for one in results if len(values := _differences(one)) > 1 and ties.varies(values)]
    if len(own) < FEWEST_TO_POOL or len(own) < len(results):
        return None
    means = [paired.mean_difference(values).value for values in own]
    errors = [paired.standard_error(paired.differences(values)) ** 2 for values in own]
    found = pooling.pool(means, errors, known(results[0].primary.level) / 100)
    unit = results[0].primary.estimate.unit
    return Together(
        estimate=of_estimate(found.estimate, unit, "all bundles together"),
        method=found.estimate.method,
        same=figure(found.p, "1", "p-value of Cochran's Q: every bundle estimates the same"),
        between=figure(found.between_variance**0.5, unit, "standard deviation between bundles"),
    )


def _differs(names: Sequence[str], results: Sequence[Results]) -> list[Differs]:
    """Every fact that is not the same everywhere: plan, window, versions, host, formula."""
    facts = [_facts(one) for one in results]
    keys = sorted({key for one in facts for key in one})
    rows = []
    for key in keys:
        values = [one.get(key, "not recorded") for one in facts]
        if len(set(values)) > 1:
            rows.append(Differs(key, dict(zip(names, values, strict=True))))
    return rows


def _facts(one: Results) -> dict[str, str]:
    facts = {
        "plan": one.study.plan_sha256[:12],
        "window": f"{one.window.value:g} {one.window.unit}",
        "source of energy": one.source.energy,
        "formula of joules": one.source.formula,
        "commits by window": _commits(one),
    }
    facts |= {f"version: {name}": value for name, value in one.versions.items()}
    return facts | {f"host: {name}": value for name, value in one.host.items()}


def _commits(one: Results) -> str:
    counts = {round(known(arm.commits) / max(1, known(arm.windows)), 2) for arm in one.arms}
    return " and ".join(f"{count:g}" for count in sorted(counts))


def _notes(results: Sequence[Results]) -> list[str]:
    notes = [
        "Bundles were not drawn by lot: what differs between them (below) is mixed up with every other difference."
    ]
    if any(known(one.n) < 2 for one in results):
        notes.append("A bundle with fewer than two pairs has no interval.")
    if len({one.source.energy for one in results}) > 1:
        notes.append("Some joules are modelled and some measured: compare CPU-seconds only.")
    if len({one.window.value for one in results}) > 1:
        notes.append("Windows differ in length, so differences by window are not of one size.")
    return notes
