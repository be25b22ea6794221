"""Puts results.json together. The same bundle gives the same bytes wherever it lies."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import hardwatt
from hardwatt.analysis import (
    answer,
    breakdown,
    carry_over,
    context,
    crosschecks,
    distribution,
    extra_sections,
    factorial,
    offtime,
    paired,
    plan_fit,
    robustness,
    runlog,
    scaling,
    sci,
    table,
)
from hardwatt.analysis.bundle_sections import DeliveryResult, RunResult, SciResult
from hardwatt.analysis.contract import as_json
from hardwatt.analysis.deviations import Deviations, apply
from hardwatt.analysis.figures import figure, text
from hardwatt.analysis.model import Results
from hardwatt.analysis.sections import Check, Factorial, Primary, ResultFigure
from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError, RefusedError
from hardwatt.core.files import write_atomic
from hardwatt.instruments.figure import Measured
from hardwatt.instruments.outcomes import measure

SCHEMA: Final = "hardwatt.results/1"


def analyse(
    bundle_path: Path | str,
    *,
    write: bool = True,
    output: Path | None = None,
    carbon: Path | None = None,
    deviations: Deviations | None = None,
) -> dict[str, Any]:
    """Analyse a bundle and return the results; with *write*, store them as results.json.

    The results are those of `hardwatt.analysis.model.Results` as plain dicts and lists. The file is
    ``BUNDLE/results/results.json``, or in *output* where that is given. Every number
    in it is a figure ``{value, unit, source, low, high}``. *carbon* is a settings file for SCI. With *deviations*
    the analysis departs from the plan, says so under ``departures``, and by default goes into a folder of its own.

    Raises `hardwatt.core.errors.LabError` where there is no bundle, it is not what its manifest says, or *output* is
    among its files.
    """
    refuse_among(bundle_path, output if write else None)
    results = analysed(bundle_path, carbon=carbon, deviations=deviations)
    if write:
        folder = output or destination(Path(bundle_path), results.departures)
        write_atomic(folder / "results.json", text(results))
    plain: dict[str, Any] = as_json(results)
    return plain


def analysed(bundle_path: Path | str, *, carbon: Path | None = None, deviations: Deviations | None = None) -> Results:
    """Analyse a bundle and return the typed results without writing them; see `analyse`."""
    bundle = Bundle.open(bundle_path)
    bundle.verify()
    plan_fit.refuse_contradictions(bundle)
    return _results(bundle, sci.settings(carbon), deviations)


def destination(bundle: Path, departures: Sequence[str] = ()) -> Path:
    """Folder for results: the bundle's own, or ``./results/NAME`` where that is not ours to write.

    A bundle that came with the package stays as it was shipped. An analysis with *departures* from the plan goes into
    ``otherwise`` in that folder, so that it never replaces the planned one.
    """
    folder = _folder(bundle)
    return folder / "otherwise" if departures else folder


def refuse_among(bundle: Path | str, *folders: Path | None) -> None:
    """Raise `RefusedError` for a folder to write to among a bundle's files, which would then not verify any more."""
    whole = Path(bundle).resolve()
    for folder in filter(None, folders):
        place = folder.resolve()
        if place.is_relative_to(whole) and not place.is_relative_to(whole / "results"):
            raise RefusedError(
                f"{folder} lies among the files of the bundle {bundle}, which its manifest lists",
                hint=f"give a folder outside of it, or one below {Path(bundle) / 'results'}",
            )


def _folder(bundle: Path) -> Path:
    bundle = bundle.resolve()
    shipped = bundle.is_relative_to(Path(hardwatt.__file__).resolve().parent)
    if shipped or not os.access(bundle, os.W_OK):
        return Path.cwd() / "results" / bundle.name
    return bundle / "results"


@dataclass(frozen=True)
class _Held:
    """Figures and pairs of a bundle, held against its plan."""

    data: table.Table
    measured: Measured
    unfit: Mapping[str, str]
    fitting: Sequence[Run]


def _held(bundle: Bundle, planned: Mapping[str, Any], departures: Sequence[str], wanted: Deviations | None) -> _Held:
    """Measure every run for the planned length, and leave out those that do not fit."""
    unfit, window = plan_fit.misfits(bundle), None if plan_fit.imported(bundle) else bundle.plan.window_seconds
    measured = measure(bundle)
    if window is not None:
        scraped = [run for run in bundle.runs if run.run_id not in bundle.manifest.recordings]
        measured = table.for_length(measured, scraped, window)  # those of recordings are for that length already
    if departures:
        _refuse_unknown(planned["outcome"], measured)
    data = table.build(bundle.runs, measured, bundle.plan.arms[:2], planned["outcome"], unfit)
    data = replace(_without(data, wanted), level=float(planned.get("confidence", paired.LEVEL)), window=window)
    return _Held(data, measured, unfit, [run for run in bundle.runs if run.run_id not in unfit])


def _results(bundle: Bundle, carbon: sci.Sci, wanted: Deviations | None) -> Results:
    planned, departures = apply(bundle.plan.primary.model_dump(), wanted)
    held = _held(bundle, planned, departures, wanted)
    data, level = held.data, held.data.level
    kind, model, seed = bundle.manifest.source, bundle.manifest.power_model, bundle.manifest.seed
    delivery = breakdown.delivery(data, bundle.deliveries)
    fetched = runlog.fetches(bundle, data)
    first = answer.primary(data, planned, seed)
    equal = answer.at_multiples(data, first, answer.equivalent(data, planned), context.margin_because(bundle))
    crossed = crosschecks.crosschecks(data, bundle, held.measured)
    carried = carry_over.carry_over(bundle, data, planned.get("margin"), declared=context.gate_is_covariate(bundle))
    by_levels = context.extras(bundle), held.fitting, data.figures, bundle.plan.arms, (data.outcome, level)
    derived = breakdown.JOULES if data.outcome != breakdown.JOULES and data.columns(breakdown.JOULES) else None
    return Results(
        schema=SCHEMA,
        departures=departures,
        source=context.source(bundle, data, breakdown.formula(kind, model)),
        study=context.study(bundle),
        window=context.window(bundle),
        n=answer.counted_pairs(data),
        arms=context.arms(bundle, data, delivery),
        primary=first,
        per_commit=_per_commit(first, data),
        verdict=answer.verdict(data, first, equal),
        limits=context.limits(bundle, data),
        pairs=answer.pairs(data, derived),
        distribution=distribution.distribution(data),
        runs=_runs(bundle, data),
        joules=breakdown.joules(data, kind, model),
        crosschecks=crossed,
        namespaces=breakdown.namespaces(data),
        totals=breakdown.totals(data),
        secondaries=breakdown.secondaries(data, seed, context.planned_secondaries(bundle)),
        units=breakdown.units(data),
        kepler=breakdown.kepler(data),
        incomplete=breakdown.incomplete(data),
        delivery=delivery,
        robustness=robustness.robustness(data, seed, level),
        equivalence=equal,
        sci=_carbon(data, carbon, kind, model),
        break_even=extra_sections.break_even(data, level),
        several=extra_sections.further_arms(
            held.fitting, data.figures, bundle.plan.arms, data.outcome, {"level": level, "seed": seed}
        ),
        scaling=scaling.scaling(*by_levels),
        off_time=offtime.off_time(*by_levels),
        factorial=_factorial(bundle, held, planned),
        fetches=fetched,
        checks=[
            *context.fit(held.unfit, bundle),
            *crosschecks.agreement(crossed),
            *carry_over.check(carried),
            *_checks(bundle, data, fetched, delivery),
        ],
        exclusions=context.exclusions(bundle, data),
        versions=context.versions(bundle),
        host=context.host(bundle),
        again=context.again(bundle),
        carry_over=carried,
    )


def _factorial(bundle: Bundle, held: _Held, planned: Mapping[str, Any]) -> Factorial | None:
    data, margin = held.data, planned.get("margin")
    asked = factorial.Asked(
        primary=data.outcome,
        further=tuple(context.planned_secondaries(bundle) or ()),
        level=data.level,
        seed=bundle.manifest.seed,
        window_seconds=data.window,
        margin=None if margin is None else float(margin),
    )
    return factorial.factorial(context.extras(bundle), held.fitting, data.figures, bundle.plan.arms, asked)


def _checks(
    bundle: Bundle, data: table.Table, fetched: Mapping[str, Mapping[str, ResultFigure]], delivery: DeliveryResult
) -> list[Check]:
    fetch_checks = runlog.runner_check(fetched, delivery)
    return [*fetch_checks, *robustness.memory_check(data), *context.checks(bundle, data, delivery)]


def _refuse_unknown(outcome: str, measured: Measured) -> None:
    known = sorted({measurement.name for measurement in measured.outcomes})
    if known and outcome not in known:
        raise LabError(f"no window has the outcome {outcome!r}; there are: {', '.join(known)}")


def _without(data: table.Table, wanted: Deviations | None) -> table.Table:
    """Leave out the pairs that somebody asked to leave out, and name them among the exclusions."""
    if wanted is None:
        return data
    for asked, left_out, reason in (
        (wanted.without_flagged, robustness.flagged, "a window of its pair carries a flag; left out on demand"),
        (wanted.without_repeated, robustness.repeated, "of a repeated pair; left out on demand"),
    ):
        if asked:
            data = table.without(data, left_out, reason)
    return data


def _runs(bundle: Bundle, data: table.Table) -> list[RunResult]:
    """Every recorded run of both arms in its order, those too that do not count."""
    counted = {run.run_id for run in data.runs}
    own = [run for run in bundle.runs if run.arm in data.arms]
    unit, nothing = bundle.plan.primary.unit, "the run does not count"
    rows = []
    for number, run in enumerate(own, start=1):
        known = data.get(run, data.outcome)
        rows.append(
            RunResult(
                position=number,
                run=run.run_id,
                pair=str(run.block),
                arm=run.arm,
                counts=run.run_id in counted,
                flags=list(run.flags),
                figure=figure(None, unit, nothing) if known is None else answer.measured(known),
                gate=runlog.gate(runlog.read(bundle, run)),
            )
        )
    return rows


def _carbon(data: table.Table, carbon: sci.Sci, kind: str, model: Mapping[str, Any]) -> SciResult | None:
    floor = breakdown.floor_watts(kind, model)
    return sci.section(data, carbon, floor, kind == "modelled", data.level, _threads(kind, model))


def _threads(kind: str, model: Mapping[str, Any]) -> float | None:
    """Return the threads whose energy is counted: a model counts the node's own, RAPL the whole machine."""
    return float(model["cpus"]) if kind == "modelled" and model.get("cpus") else None


def _per_commit(first: Primary, data: table.Table) -> ResultFigure | None:
    """The primary difference spread over the commits of a window, where every window had equally many."""
    commits = {run.commits for run in data.runs}
    estimate = first.estimate
    if estimate.value is None or len(commits) != 1 or commits == {0}:
        return None
    each = commits.pop()
    bounds = (estimate.value, estimate.low, estimate.high)
    value, low, high = (bound if bound is None else bound / each for bound in bounds)
    share = answer.share_of(data, data.outcome)
    return figure(value, f"{estimate.unit} per commit", estimate.source, low, high, share=share)
