"""Studies whose arms are all combinations of two factors: effects of each factor, and whether one depends on the other.

Each contrast is a weighted sum of arms within a block. A main effect is the mean over the levels of the other factor, a
simple effect holds at one level of it, and an interaction is the difference between two simple effects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hardwatt.analysis import equivalence, paired, ties
from hardwatt.analysis.figures import FEWEST_FOR_A_TEST, count, figure, of_estimate
from hardwatt.analysis.multi_arm import Combined, combined, in_blocks
from hardwatt.analysis.paired import Estimate
from hardwatt.analysis.resample import sign_flip
from hardwatt.analysis.sections import EquivalenceResult, Factorial, FactorialContrast, FactorialOutcome, ResultFigure
from hardwatt.analysis.table import complete
from hardwatt.bundle.model import Run
from hardwatt.instruments.figure import Figure

Kind = Literal["main", "simple", "interaction"]
RATE = "CPU-ms per s"
_PER_SECOND = {"CPU-seconds": (RATE, 1000.0), "J": ("mW", 1000.0)}
"""Unit of a window's figure -> unit of the same by the second, and its factor."""


@dataclass(frozen=True)
class Effect:
    """One contrast: what it is, in words, and the weight of each arm."""

    kind: Kind
    label: str
    weights: Mapping[str, float]


@dataclass(frozen=True)
class Design:
    """Two factors, their levels (the first one is the base), and the arm of each combination."""

    names: tuple[str, str]
    levels: tuple[tuple[str, ...], tuple[str, ...]]
    arm: Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Asked:
    """Question to the figures: ``primary`` with its ``margin`` for a window, ``further`` outcomes beside it."""

    primary: str
    further: tuple[str, ...] = ()
    level: float = paired.LEVEL
    seed: int = 0
    window_seconds: float | None = None
    margin: float | None = None


def design(definition: Mapping[str, Any], arms: Sequence[str]) -> Design | None:
    """Return the two factors that the arms cross; ``None`` where they do not cross exactly two."""
    settings, factors = definition.get("arm") or {}, definition.get("factors") or {}
    own = {arm: (settings.get(arm) or {}).get("levels") or {} for arm in arms}
    if any(set(given) != set(factors) for given in own.values()):
        return None
    used = {name: [word(level) for level in levels if _used(own, name, level)] for name, levels in factors.items()}
    # A stored plan sorts its keys: the factor with more levels comes first, so that the order says nothing else.
    varying = sorted((name for name, levels in used.items() if len(levels) > 1), key=lambda name: -len(used[name]))
    if len(varying) != 2 or len({(settings[arm].get("use") or arm) for arm in arms}) > 1:
        return None
    first, second = varying
    table = {(word(given[first]), word(given[second])): arm for arm, given in own.items()}
    if not len(table) == len(arms) == len(used[first]) * len(used[second]):
        return None
    return Design((first, second), (tuple(used[first]), tuple(used[second])), table)


def _used(own: Mapping[str, Mapping[str, Any]], name: str, level: Any) -> bool:
    return any(word(given[name]) == word(level) for given in own.values())


def word(level: Any) -> str:
    """Return a level as results name it."""
    return {True: "on", False: "off"}[level] if isinstance(level, bool) else str(level)


def effects(crossed: Design) -> list[Effect]:
    """Return every effect of the two factors; the interactions come first."""
    return [*_interactions(crossed), *_of_factor(crossed, 0), *_of_factor(crossed, 1)]


def _interactions(crossed: Design) -> Iterator[Effect]:
    (first, second), (levels, others) = crossed.names, crossed.levels
    for level in levels[1:]:
        for other in others[1:]:
            weights = {
                crossed.arm[level, other]: 1.0,
                crossed.arm[levels[0], other]: -1.0,
                crossed.arm[level, others[0]]: -1.0,
                crossed.arm[levels[0], others[0]]: 1.0,
            }
            label = f"{first} {level} minus {levels[0]}, with {second} {other} rather than {others[0]}"
            yield Effect("interaction", label, weights)


def _of_factor(crossed: Design, number: int) -> Iterator[Effect]:
    name, other_name = crossed.names[number], crossed.names[1 - number]
    levels, others = crossed.levels[number], crossed.levels[1 - number]

    def arm(level: str, other: str) -> str:
        return crossed.arm[(level, other) if number == 0 else (other, level)]

    for level in levels[1:]:
        share = 1 / len(others)
        signed = [(arm(level, other), share) for other in others] + [
            (arm(levels[0], other), -share) for other in others
        ]
        yield Effect("main", f"{name} {level} minus {levels[0]}", dict(signed))
        for other in others:
            weights = {arm(level, other): 1.0, arm(levels[0], other): -1.0}
            yield Effect("simple", f"{name} {level} minus {levels[0]}, {other_name} {other}", weights)


def factorial(
    definition: Mapping[str, Any],
    runs: Sequence[Run],
    figures: Mapping[tuple[str, str], Figure],
    arms: Sequence[str],
    asked: Asked,
) -> Factorial | None:
    """Return the effects of two crossed factors on the primary outcome and the further ones.

    Blocks count in which every arm has a usable run. ``None`` where the arms do not cross two factors, or no block is
    complete. CPU-seconds and joules are shown by the second of the window.
    """
    crossed = design(definition, arms)
    blocks = complete(runs, figures, arms, asked.primary) if crossed else []
    if crossed is None or not blocks:
        return None
    names = [asked.primary, *(name for name in asked.further if name != asked.primary)]
    have = [name for name in names if all((run.run_id, name) in figures for block in blocks for run in block.values())]
    return Factorial(
        blocks=count(len(blocks), "blocks", "runs table of the bundle"),
        factors={name: list(levels) for name, levels in zip(crossed.names, crossed.levels, strict=True)},
        outcomes=[_outcome(name, crossed, blocks, figures, asked) for name in have],
    )


def _outcome(
    name: str,
    crossed: Design,
    blocks: Sequence[Mapping[str, Run]],
    figures: Mapping[tuple[str, str], Figure],
    asked: Asked,
) -> FactorialOutcome:
    sample = figures[next(iter(blocks[0].values())).run_id, name]
    unit, factor = _PER_SECOND.get(sample.unit, ("", 1.0)) if asked.window_seconds else ("", 1.0)
    scale = factor / asked.window_seconds if unit and asked.window_seconds else 1.0
    shown = unit or sample.unit
    order = list(crossed.arm.values())
    columns = {arm: [scale * figures[block[arm].run_id, name].value for block in blocks] for arm in order}
    places = {arm: [_place(block, arm) for block in blocks] for arm in order}
    margin = None if asked.margin is None or name != asked.primary else scale * asked.margin
    rows = effects(crossed)
    p = _tested(rows, columns, asked.seed) if name == asked.primary and len(blocks) >= FEWEST_FOR_A_TEST else {}
    return FactorialOutcome(
        name=name,
        arms={
            arm: of_estimate(paired.mean_difference(values, asked.level), shown, sample.source)
            for arm, values in columns.items()
        },
        contrasts=[
            _contrast(
                effect,
                combined(columns, effect.weights, places, asked.level),
                (shown, sample.source),
                p.get(effect.label),
                _equal(effect, columns, margin, shown, len(blocks)),
            )
            for effect in rows
        ],
    )


def _place(block: Mapping[str, Run], arm: str) -> int:
    return sorted(block, key=lambda other: block[other].t0_ms).index(arm)


def _tested(
    rows: Sequence[Effect], columns: Mapping[str, Sequence[ties.Number]], seed: int
) -> Mapping[str, ResultFigure]:
    """Return p of each interaction, by Holm over them: the other effects are described, not tested."""
    interactions = [effect for effect in rows if effect.kind == "interaction"]
    raw = {effect.label: sign_flip(in_blocks(columns, effect.weights), seed).p for effect in interactions}
    source = "sign-flip permutation, two-sided, Holm over the interactions"
    return {label: figure(p, "1", source) for label, p in equivalence.holm(raw).items()}


def _equal(
    effect: Effect, columns: Mapping[str, Sequence[ties.Number]], margin: float | None, unit: str, blocks: int
) -> EquivalenceResult | None:
    if margin is None or effect.kind != "interaction" or blocks < FEWEST_FOR_A_TEST:
        return None
    tested = equivalence.tost(in_blocks(columns, effect.weights), margin)
    return EquivalenceResult(
        margin=figure(tested.margin, unit, "plan"),
        interval=figure(tested.mean, unit, "the contrast within each block", tested.low, tested.high),
        level=figure(tested.level * 100, "%", "twice the one-sided level of the tests"),
        p=figure(tested.p, "1", "two one-sided t tests"),
        equivalent=tested.equivalent,
    )


def _contrast(
    effect: Effect,
    estimated: Combined,
    about: tuple[str, str],
    p: ResultFigure | None,
    equal: EquivalenceResult | None,
) -> FactorialContrast:
    unit, source = about

    def shown(estimate: Estimate) -> ResultFigure:
        return of_estimate(estimate, unit, source)

    return FactorialContrast(
        kind=effect.kind,
        label=effect.label,
        paired=shown(estimated.paired),
        paired_detectable=figure(estimated.detectable, unit, source),
        mixed=shown(estimated.mixed) if estimated.mixed else None,
        mixed_detectable=None
        if estimated.mixed_detectable is None
        else figure(estimated.mixed_detectable, unit, source),
        method=estimated.mixed.method if estimated.mixed else estimated.paired.method,
        p=p,
        equivalence=equal,
    )
