"""Several bundles side by side: machines, versions, repeats. Writes compare.json; pages render it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hardwatt.analysis import paired, pooling, ties
from hardwatt.analysis.contract import as_json, parse
from hardwatt.analysis.figures import Json, figure, known, of_estimate, text
from hardwatt.analysis.model import AgainstFirst, ComparedBundle, Comparison, Differs, Results, Together
from hardwatt.analysis.results import analysed, refuse_among
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError
from hardwatt.core.files import write_atomic
from hardwatt.instruments.recorder import SOURCES, node_kind

SCHEMA: Final = "hardwatt.compare/1"
FEWEST_TO_POOL = 3


def compare(paths: Sequence[Path | str], output: Path | None = None) -> Json:
    """Analyse every bundle as planned and put the answers side by side; with *output*, write compare.json there.

    Returns `hardwatt.analysis.model.Comparison` as plain dicts and lists.

    Raises `LabError` for fewer than two bundles, the same one twice, and bundles that did not measure the same thing.
    """
    for path in paths:
        refuse_among(path, output)
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
    names, results = _names(folders), [analysed(folder) for folder in folders]
    _refuse_unequal_kinds(names, folders)
    return _compared(names, results)


def _refuse_unequal_kinds(names: Sequence[str], folders: Sequence[Path]) -> None:
    """Refuse bundles whose CPU time of the node comes from unequal kinds of counters: each misses something else."""
    kinds = {
        name: kind for name, folder in zip(names, folders, strict=True) if (kind := node_kind(Bundle.open(folder)))
    }
    first = next(iter(kinds), "")
    for name, kind in kinds.items():
        if kind != kinds[first]:
            raise LabError(
                f"{first} and {name} cannot be compared: their CPU time of the node is read from "
                f"{SOURCES.get(kinds[first], kinds[first])} and from {SOURCES.get(kind, kind)}",
                hint="compare bundles of one kind of machine",
            )


def side_by_side(names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> Json:
    """Compare results, as `analyse` returns them, by name; see `compare`."""
    typed = [parse(Results, plain_results, name) for name, plain_results in zip(names, results, strict=True)]
    plain: Json = as_json(_compared(names, typed))
    return plain


def _compared(names: Sequence[str], results: Sequence[Results]) -> Comparison:
    _refuse(names, results)
    first = results[0]
    return Comparison(
        schema=SCHEMA,
        arms=[arm.name for arm in first.arms],
        outcome=first.primary.outcome,
        direction=first.primary.direction,
        level=first.primary.level,
        bundles=[_row(name, bundle) for name, bundle in zip(names, results, strict=True)],
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
        "arms": lambda bundle: [arm.name for arm in bundle.arms],
        "outcome": lambda bundle: bundle.primary.outcome,
        "unit": lambda bundle: bundle.primary.estimate.unit,
        "source of energy": lambda bundle: bundle.source.energy if bundle.source.headline == "joules" else "",
    }
    for what, get in shared.items():
        first = get(results[0])
        for name, bundle in zip(names[1:], results[1:], strict=True):
            if get(bundle) != first:
                raise LabError(
                    f"{names[0]} and {name} cannot be compared: their {what} is {first} and {get(bundle)}",
                    hint="compare bundles of one study",
                )


def _row(name: str, results: Results) -> ComparedBundle:
    return ComparedBundle(
        name=name,
        study=results.study.title,
        source=results.source.energy,
        n=results.n,
        window=results.window,
        estimate=results.primary.estimate,
        relative=results.primary.relative,
        per_commit=results.per_commit,
        detectable=results.primary.detectable,
        verdict=results.verdict.word,
        warnings=[check.name for check in results.checks if check.status != "ok"],
    )


def _differences(results: Results) -> list[float]:
    return [known(row.difference) for row in results.pairs]


def _against_first(names: Sequence[str], results: Sequence[Results]) -> list[AgainstFirst]:
    """Compare the difference of the arms in each bundle with that in the first."""
    level = known(results[0].primary.level) / 100
    base, sample = _differences(results[0]), results[0].primary.estimate
    rows = []
    for name, bundle in zip(names[1:], results[1:], strict=True):
        own = _differences(bundle)
        if not base or not own:
            empty = figure(None, sample.unit, "no complete pair")
            rows.append(AgainstFirst(name, empty, "no complete pair"))
            continue
        estimate = pooling.welch(base, own, level)
        row = of_estimate(estimate, sample.unit, f"{name} minus {names[0]}")
        rows.append(AgainstFirst(name, row, estimate.method))
    return rows


def _together(results: Sequence[Results]) -> Together | None:
    """All bundles together, from three on that have two pairs or more; ``None`` otherwise."""
    own = [values for bundle in results if len(values := _differences(bundle)) > 1 and ties.varies(values)]
    if len(own) < FEWEST_TO_POOL or len(own) < len(results):
        return None
    means = [paired.mean_difference(values).value for values in own]
    errors = [paired.standard_error(paired.differences(values)) ** 2 for values in own]
    pooled = pooling.pool(means, errors, known(results[0].primary.level) / 100)
    unit = results[0].primary.estimate.unit
    return Together(
        estimate=of_estimate(pooled.estimate, unit, "all bundles together"),
        method=pooled.estimate.method,
        same=figure(pooled.p, "1", "p-value of Cochran's Q: every bundle estimates the same"),
        between=figure(pooled.between_variance**0.5, unit, "standard deviation between bundles"),
    )


def _differs(names: Sequence[str], results: Sequence[Results]) -> list[Differs]:
    """Every fact that is not the same everywhere: plan, window, versions, host, formula."""
    facts = [_facts(bundle_facts) for bundle_facts in results]
    keys = sorted({key for bundle_facts in facts for key in bundle_facts})
    rows = []
    for key in keys:
        values = [bundle_facts.get(key, "not recorded") for bundle_facts in facts]
        if len(set(values)) > 1:
            rows.append(Differs(key, dict(zip(names, values, strict=True))))
    return rows


def _facts(results: Results) -> dict[str, str]:
    facts = {
        "plan": results.study.plan_sha256[:12],
        "window": f"{results.window.value:g} {results.window.unit}",
        "source of energy": results.source.energy,
        "formula of joules": results.source.formula,
        "commits by window": _commits(results),
    }
    facts |= {f"version: {name}": value for name, value in results.versions.items()}
    return facts | {f"host: {name}": value for name, value in results.host.items()}


def _commits(results: Results) -> str:
    counts = {round(known(arm.commits) / max(1, known(arm.windows)), 2) for arm in results.arms}
    return " and ".join(f"{count:g}" for count in sorted(counts))


def _notes(results: Sequence[Results]) -> list[str]:
    notes = [
        "Bundles were not drawn by lot: what differs between them (below) is mixed up with every other difference."
    ]
    if any(known(bundle.n) < 2 for bundle in results):
        notes.append("A bundle with fewer than two pairs has no interval.")
    if len({bundle.source.energy for bundle in results}) > 1:
        notes.append("Some joules are modelled and some measured: compare CPU-seconds only.")
    if len({bundle.window.value for bundle in results}) > 1:
        notes.append("Windows differ in length, so differences by window are not of one size.")
    return notes
