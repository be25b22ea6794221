"""Reads study files: every key is known or refused, and what does not fit together is refused with its key."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardwatt.config.settings import parse
from hardwatt.core import former_names
from hardwatt.core.errors import LabError, SettingsError
from hardwatt.core.nearest import did_you_mean
from hardwatt.experiment.plan.study_model import ARMS, SETTABLE, STUDIES, WORKLOADS, Study, is_key

OUTCOMES = (
    "node_cpu_seconds", "node_joules", "git_cpu_seconds", "kubelet_cpu_seconds", "commit_to_ready_seconds",
    "deliveries_ready", "cpu_seconds.pods", "cpu_seconds.kubepods", "cpu_seconds.unseen_in_pods",
    "watching.prometheus", "watching.node-exporter", "recorder_cpu_seconds", "containerd_cpu_seconds",
    "controller_cpu_seconds", "neighbours_cpu_seconds",
)  # fmt: skip
_PER_NAMESPACE = re.compile(r"(cpu_seconds|kepler_joules)\.[a-z0-9-]+")
_NEEDS = re.compile(r"image \S+|deployment [a-z0-9-]+/[a-z0-9-]+|source rapl|proc_stat node")
_UNIT_OF = {"node_cpu_seconds": "CPU-ms", "node_joules": "mJ or mW"}


def problems(study: Study) -> list[str]:
    """Return what does not fit together in a study, each with its key; empty where all is well."""
    return [
        *_arm_problems(study),
        *_factor_problems(study),
        *_design_problems(study),
        *_primary_problems(study),
        *_margin_problems(study),
        *_name_problems(study),
        *_trace_problems(study),
    ]


def _arm_problems(study: Study) -> Iterator[str]:
    if len(set(study.arms)) < len(study.arms):
        yield "arms: the arms must differ"
    for arm in sorted(set(study.arms) - set(study.estimand.arms)):
        yield f"estimand.arms: no description of the arm {arm!r}"
    for key, named in (("estimand.arms", study.estimand.arms), ("arm", study.arm)):
        for arm in sorted(set(named) - set(study.arms)):
            yield f"{key}: {arm!r} is not one of the arms {', '.join(study.arms)}"
    same = {(study.code_of(arm), str(sorted(study.levels_of(arm).items()))) for arm in study.arms}
    control = study.control.kind if study.control else ""
    if len(same) < len(study.arms) and control != "a/a":
        yield 'arms: two arms use the same code at the same levels; control.kind = "a/a" is for that'
    if len(same) > 1 and control == "a/a":
        yield "control.kind: the arms of an A/A study use the same code at the same levels"


def _factor_problems(study: Study) -> Iterator[str]:
    for name in study.factors:
        if "." in name and not is_key(name):
            yield f"factors: {name!r} cannot differ by arm; keys of {', '.join(SETTABLE)} can"
    for arm in study.arms:
        levels = study.levels_of(arm)
        for name in sorted(set(levels) ^ set(study.factors)):
            if name in study.factors:
                yield f"arm.{arm}.levels: no level of the factor {name!r}"
            else:
                yield f"arm.{arm}.levels: {name!r} is not in factors"
        for name in sorted(set(levels) & set(study.factors)):
            if levels[name] not in study.factors[name]:
                known = ", ".join(map(str, study.factors[name]))
                yield f"arm.{arm}.levels: {name} = {levels[name]} is not one of its levels {known}"


def _design_problems(study: Study) -> Iterator[str]:
    design = study.design
    if design.order == "abba" and len(study.arms) != 2:
        yield "design.order: abba is for two arms"
    if design.order == "abba" and design.pairs % 2:
        yield "design.pairs: abba takes pairs in twos"
    square = square_size(study.in_full())
    if design.full_pairs % square:
        least = design.full_pairs // square * square
        yield (
            f"design.full_pairs: {design.full_pairs} blocks cannot be balanced: they come in groups of {square} "
            f"({least or square} or {least + square} are)"
        )
    control = study.control
    if control and control.kind == "positive" and control.known <= 0:
        yield "control.known: a positive control has a known effect above zero"
    if control and control.kind == "a/a" and control.known:
        yield "control.known: an A/A study has no effect"


def _primary_problems(study: Study) -> Iterator[str]:
    estimator, interval = study.primary.estimator, study.primary.interval
    if (interval == "signed rank") != (estimator == "Hodges-Lehmann"):
        wanted = "'signed rank'" if estimator == "Hodges-Lehmann" else "'t' or 'studentised bootstrap'"
        yield f"primary.interval: {interval!r} is no interval of {estimator!r}; take {wanted}"


def _margin_problems(study: Study) -> Iterator[str]:
    margin = study.primary.margin
    if margin is None:
        return
    if margin.unit.startswith("CPU") != (study.primary.outcome == "node_cpu_seconds"):
        wanted = _UNIT_OF[study.primary.outcome]
        yield f"primary.margin.unit: {margin.unit!r} is not a unit of {study.primary.outcome} ({wanted})"
    if margin.value > margin.plausible:
        yield (
            f"primary.margin.value: {margin.value:g} {margin.unit} is more than the whole plausible effect "
            f"({margin.plausible:g}): no difference that could be there would count as one"
        )
    if margin.unit.endswith("per deployment") and min(study.trace.counts) != max(study.trace.counts):
        yield "primary.margin.unit: blocks have different numbers of commits; take a margin per second"
    if margin.unit.endswith("per deployment") and not study.trace.commits:
        yield "primary.margin.unit: there are no deployments in a window (trace.commits = 0)"


def _name_problems(study: Study) -> Iterator[str]:
    for name in study.secondaries:
        if name not in OUTCOMES and not _PER_NAMESPACE.fullmatch(name):
            more = did_you_mean(name, [*OUTCOMES, "cpu_seconds.NAMESPACE"])
            yield f"secondaries: unknown outcome {name!r}; {more}"
    for need in study.needs:
        if not _NEEDS.fullmatch(need):
            yield (
                f"needs: {need!r} is none of 'image NAME', 'deployment NAMESPACE/NAME', 'source rapl', 'proc_stat node'"
            )


def _trace_problems(study: Study) -> Iterator[str]:
    """Yield how commits could meet each other or the end of the window, and a phase that is too short."""
    trace, window = study.trace, study.estimand.window_seconds
    if trace.commits_by_block and max(trace.commits_by_block) != trace.commits:
        yield "trace.commits_by_block: its largest number is trace.commits"
    poll = longest_poll(study)
    if study.timing.phase_seconds < poll and not study.timing.short_phase_because:
        yield (
            f"timing.phase_seconds: {study.timing.phase_seconds:g} s is less than one reconcile interval ({poll:g} s), "
            "so that windows could start in step with polls; timing.short_phase_because = REASON allows it"
        )
    if not trace.commits:
        return
    deliver = poll + study.timing.rollout_seconds
    interval = "flux.apply_interval_seconds" if trace.kind == "drifts" else "flux.interval_seconds"
    needs = f"one delivery takes up to {deliver:g} s ({interval} + timing.rollout_seconds)"
    apart = trace.spacing_seconds - trace.jitter_seconds
    if trace.commits > 1 and apart < deliver and not trace.may_coalesce:
        yield (
            f"trace.spacing_seconds: commits may come {apart:g} s apart, but {needs}; "
            "trace.may_coalesce = true allows it"
        )
    last = trace.first_seconds + (trace.commits - 1) * trace.spacing_seconds + trace.jitter_seconds
    if last + deliver > window:
        yield (
            f"estimand.window_seconds: the window ends at {window:g} s, the last commit comes at up to {last:g} s "
            f"and {needs}"
        )


def square_size(study: Study) -> int:
    """Return how many blocks belong together for the order to be balanced: 1 where each stands alone."""
    if study.order == "williams" and len(study.arms) > 2:
        return len(study.arms) * (1 + len(study.arms) % 2)
    return 2 if study.order == "abba" else 1


def longest_poll(study: Study) -> float:
    """Return the longest interval in seconds at which any arm looks: for commits, or for drift."""
    flux = [study.for_arm(arm).flux for arm in study.arms]
    drifts = study.trace.kind == "drifts"
    return max(settings.apply_interval_seconds if drifts else settings.interval_seconds for settings in flux)


def list_studies(root: Path) -> list[str]:
    """Return the names of the studies of a checkout, sorted."""
    return sorted(path.stem for path in (root / STUDIES).glob("*.toml"))


def load_study(root: Path, name: str) -> Study:
    """Read a study by name.

    Raises ``SettingsError`` for an unknown study, broken TOML, an unknown key (with the nearest
    known one), values that do not fit together, in the quick form or in the full one, and an arm whose code uses
    former names.
    """
    path = root / STUDIES / f"{name}.toml"
    known = list_studies(root)
    if name not in known:
        raise SettingsError(
            f"unknown study {name!r}; {did_you_mean(name, known, 'known studies')}", hint="invoke experiment.list"
        )
    study = read_study(path)
    if missing := list(missing_files(root, study)):
        raise SettingsError(f"{path}: " + "; ".join(missing), hint=f"mend {path} and run the command again")
    for arm in study.arms:
        _refuse_former_names(root / ARMS / f"{study.code_of(arm)}.py")
    return study


def _refuse_former_names(arm: Path) -> None:
    """Raise ``SettingsError`` if the code of an arm uses names that have changed."""
    if said := former_names.in_arm(arm.read_text(errors="replace")):
        raise SettingsError(f"{arm}: " + "; ".join(said), hint=f"mend {arm} and run the command again")


def missing_files(root: Path, study: Study) -> Iterator[str]:
    """Yield what a study names that is not a file of the checkout, with its key."""
    for arm in study.arms:
        name = study.code_of(arm)
        if not (root / ARMS / f"{name}.py").exists():
            arms = sorted(file.stem for file in (root / ARMS).glob("[a-z]*.py"))
            key = "arms" if name == arm else f"arm.{arm}.use"
            yield f"{key}: there is no {ARMS}/{name}.py; {did_you_mean(name, arms, 'arms')}"
    manifests = study.workload.manifests
    known = sorted(file.parent.name for file in (root / WORKLOADS).glob("*/kustomization.yaml"))
    if manifests not in known:
        yield (
            f"workload.manifests: there is no {WORKLOADS}/{manifests}/kustomization.yaml; "
            f"{did_you_mean(manifests, known, 'workloads')}"
        )


def read_study(path: Path) -> Study:
    """Read a study file; see ``load_study``."""
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}", hint="see experiments/README.md") from error
    if "name" in data:
        raise SettingsError(f"{path}: the name of a study is its file's name; leave the key 'name' out")
    study = parse(Study, {**data, "name": path.stem}, str(path))
    try:
        mistakes = problems(study)
        if study.full and not mistakes:
            mistakes = [f"with the values of full, {problem}" for problem in problems(study.in_full())]
    except LabError as error:  # a level or a value of full that the study's own keys refuse
        raise SettingsError(f"{path}: {error.message}", hint=f"mend {path} and run the command again") from error
    if mistakes:
        raise SettingsError(f"{path}: " + "; ".join(mistakes), hint=f"mend {path} and run the command again")
    return study


__all__ = [
    "Study",
    "list_studies",
    "load_study",
    "longest_poll",
    "missing_files",
    "problems",
    "read_study",
    "square_size",
]
