"""The sections around the answer: source of energy, study, limits, checks, how to run it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from hardwatt.analysis import plan_fit, runlog
from hardwatt.analysis.bundle_sections import ArmSummary, DeliveryResult, Estimand, Limit, Source, Study
from hardwatt.analysis.figures import FEWEST_FOR_A_TEST, count, figure
from hardwatt.analysis.sections import Check, Exclusion, ResultFigure
from hardwatt.analysis.table import Table
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError

_SYNTHETIC = "This bundle is synthetic: it was computed to test the toolkit. Nothing was measured at all."
_MODELLED = (
    "No watts: on this machine joules follow from CPU time by a formula. Memory, disk, network, fans and the power "
    "supply are not in it, and neither is what a processor saves by sleeping longer."
)
_ONE_SESSION = (
    "One session: this cluster, this hour. The interval holds for repeats in the same cluster; a fresh cluster, "
    "another processor, more nodes or a busier cluster can give another answer."
)
_SHORT_WINDOWS = (
    "Short windows in which commits follow each other closely: how much an arm costs while nothing is committed, "
    "by the hour or by the day, is another question."
)
FIT = "runs fit the plan, each other and their own readings"
_MISSING = "planned, and the runs table has no such run"
_FEW_PAIRS = "Few pairs: the interval leans on differences being roughly normal, which few pairs cannot show."


def source(bundle: Bundle, table: Table, formula: str) -> Source:
    """Return the source of energy, which comes first in every report; Kepler's fake meter is refused."""
    kind = bundle.manifest.source
    if "fake" in str(bundle.manifest.power_model.get("name", "")):
        raise LabError("the bundle's energy comes from a fake meter; it is not analysed")
    if kind == "modelled":
        says = (
            "No watt was measured. What was measured is CPU time, so CPU-seconds are the headline; every joule below "
            "is computed from them by a formula."
        )
    else:
        says = "Measured by the processor's own energy counter (RAPL), which covers the whole host."
    headline: Literal["CPU-seconds", "joules"] = "CPU-seconds" if table.outcome.endswith("cpu_seconds") else "joules"
    return Source(kind, says, headline, formula, _accuracy(table))


def _accuracy(table: Table) -> ResultFigure | None:
    """Return the published accuracy of the counters whose joules these are, in percent."""
    known = [row.accuracy for row in table.figures.values() if row.unit == "J" and row.accuracy is not None]
    largest = max(known, key=lambda accuracy: accuracy.share, default=None)
    return None if largest is None else figure(100 * largest.share, "%", largest.source)


def study(bundle: Bundle) -> Study:
    """Return the question, as the plan puts it that was hashed before the first run."""
    plan = extras(bundle)
    estimand = plan.get("estimand") or {}
    title = str(plan.get("title") or bundle.plan.study)
    full = (plan.get("design") or {}).get("full_pairs")
    return Study(
        name=bundle.plan.study,
        title=title,
        question=str(plan.get("question") or title),
        estimand=Estimand(
            arms={arm: str((estimand.get("arms") or {}).get(arm, "")) for arm in bundle.plan.arms},
            done=str(estimand.get("done", "")),
            boundary=str(estimand.get("boundary", "")),
            outside=str(estimand.get("outside", "")),
        ),
        plan_sha256=bundle.manifest.plan_sha256,
        seed=str(bundle.manifest.seed),
        full=count(full, "pairs", "plan") if full else None,
        protocol_sha256=bundle.manifest.protocol_sha256,
        session=None if bundle.manifest.session is None else str(bundle.manifest.session),
    )


def extras(bundle: Bundle) -> dict[str, Any]:
    """Keys of the study: beside the plan's own keys, or under ``definition``."""
    extra = dict(bundle.plan.model_extra or {})
    nested = extra.get("definition")
    return {**nested, **extra} if isinstance(nested, Mapping) else extra


def margin_because(bundle: Bundle) -> str:
    """Return the decision that the margin was chosen for, as the study gives it; empty where it gives none."""
    definition = (bundle.plan.model_extra or {}).get("definition") or {}
    margin = (definition.get("primary") or {}).get("margin") or {}
    return str(margin.get("because", ""))


def gate_is_covariate(bundle: Bundle) -> bool:
    """Return True if the study declared before the first run that the answer is adjusted for the gate's reading."""
    definition = (bundle.plan.model_extra or {}).get("definition") or {}
    return (definition.get("gate") or {}).get("covariate") is True


def planned_secondaries(bundle: Bundle) -> list[str] | None:
    """Secondaries that the plan names; ``None`` for a plan that says nothing of them."""
    named = extras(bundle).get("secondaries")
    return None if named is None else [str(name) for name in named]


def window(bundle: Bundle) -> ResultFigure:
    """T, the same in every arm."""
    return figure(bundle.plan.window_seconds, "s", "plan")


def limits(bundle: Bundle, table: Table) -> list[Limit]:
    """Return the limits of the answer in sentences; the study's own notes come first."""
    notes = [Limit(str(note), "plan") for note in extras(bundle).get("notes") or []]
    own = [_ONE_SESSION, _SHORT_WINDOWS]
    if bundle.manifest.source == "modelled":
        own.insert(0, _MODELLED)
    if 0 < len(table.pairs) < FEWEST_FOR_A_TEST:
        own.append(_FEW_PAIRS)
    if bundle.manifest.host.get("synthetic"):
        notes.insert(0, Limit(_SYNTHETIC, "analysis"))
    return notes + [Limit(text, "analysis") for text in own]


def arms(bundle: Bundle, table: Table, delivery: DeliveryResult) -> list[ArmSummary]:
    """Both arms, baseline first: what ran, how many windows, what became of the commits."""
    describe = study(bundle).estimand.arms
    return [
        ArmSummary(
            name=arm,
            describes=describe[arm],
            windows=count(sum(run.arm == arm for run in table.runs), "windows", "runs table of the bundle"),
            **vars(delivery.arms[arm]),
        )
        for arm in table.arms
    ]


def checks(bundle: Bundle, table: Table, delivery: DeliveryResult) -> list[Check]:
    """The rig's own checks as recorded, and those that the analysis makes of every bundle."""
    windows = [_same_revisions(delivery, table), _same_length(bundle, table), _flags(table)] if table.runs else []
    own = [*windows, *runlog.equal_work(bundle, table), _clean(bundle)]
    recorded = [Check(c.name, c.status, c.detail) for c in bundle.manifest.checks]
    return own + recorded


def _same_revisions(delivery: DeliveryResult, table: Table) -> Check:
    missed = [
        f"{arm}: {counts.ready.value} of {counts.commits.value} commits"
        for arm in table.arms
        if (counts := delivery.arms[arm]).ready.value != counts.commits.value
    ]
    name = "every commit became Ready in its window, in both arms"
    return Check(name, "warning" if missed else "ok", "; ".join(missed))


def _same_length(bundle: Bundle, table: Table) -> Check:
    planned = bundle.plan.window_seconds
    off = [run.run_id for run in table.runs if abs(run.seconds - planned) > 0.01 * planned]
    name = "every window has the planned length within one percent"
    return Check(name, "warning" if off else "ok", ", ".join(off))


def _flags(table: Table) -> Check:
    flagged = [f"{run.run_id}: {', '.join(run.flags)}" for run in table.runs if run.flags]
    return Check("no window that counts carries a flag", "warning" if flagged else "ok", "; ".join(flagged))


def _clean(bundle: Bundle) -> Check:
    tool = bundle.manifest.tool
    detail = "" if tool.git_sha and not tool.dirty else "uncommitted changes" if tool.dirty else "not a git checkout"
    name = "made by a committed state of the toolkit"
    return Check(name, "warning" if detail else "ok", detail)


def fit(unfit: Mapping[str, str], bundle: Bundle) -> list[Check]:
    """Return one check over the whole bundle: it names the runs that do not fit, and those that are missing."""
    if not any(run.status == "done" for run in bundle.runs):
        return []
    texts = [f"{run_id}: {reason}" for run_id, reason in unfit.items()]
    texts += [f"{row.run_id}: {_MISSING}" for row in plan_fit.missing(bundle)]
    return [Check(FIT, "failed" if texts else "ok", "; ".join(texts))]


def exclusions(bundle: Bundle, table: Table) -> list[Exclusion]:
    """Runs that the estimate does not use, with the reason of each."""
    rows = [Exclusion(e.run_id, e.arm, e.reason) for e in table.exclusions]
    arm_of = {run.run_id: run.arm for run in bundle.plan.runs}
    for run_id in bundle.manifest.discarded:
        rows.append(Exclusion(run_id, arm_of.get(run_id, ""), "killed while it ran; its data was removed"))
    return rows + [Exclusion(row.run_id, row.arm, _MISSING) for row in plan_fit.missing(bundle)]


def versions(bundle: Bundle) -> dict[str, str]:
    """Everything whose version the manifest holds, the toolkit first by name."""
    tool = bundle.manifest.tool
    commit = f" ({tool.git_sha[:12]})" if tool.git_sha else ""
    return {"hardwatt": f"{tool.version}{commit}"} | dict(bundle.manifest.versions)


def host(bundle: Bundle) -> dict[str, str]:
    """Facts of the host that a reader can weigh: plain values only."""
    facts = bundle.manifest.host
    known = {key: str(value) for key, value in facts.items() if isinstance(value, str | int | float | bool)}
    return {key: value for key, value in known.items() if bundle.manifest.versions.get(key) != value}


def again(bundle: Bundle) -> list[str]:
    """Commands that repeat the experiment, and the analysis of this bundle."""
    pairs = (bundle.plan.model_extra or {}).get("pairs") or len({run.block for run in bundle.plan.runs})
    study_name, seed = bundle.plan.study, bundle.manifest.seed
    return [f"invoke experiment.run {study_name} --pairs {pairs} --seed {seed}", "hardwatt report BUNDLE"]
