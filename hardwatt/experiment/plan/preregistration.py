"""A plan as text: for the terminal, and in Markdown to be deposited before the first run."""

from collections.abc import Iterator

from hardwatt.experiment.plan.planned_noise import noise_of, per_deployment
from hardwatt.experiment.plan.qualification import Qualification
from hardwatt.experiment.plan.run_table import RunTable
from hardwatt.experiment.plan.sample_size import FEWEST, detectable
from hardwatt.experiment.plan.study_model import ALWAYS_EXCLUDED, EXCLUSIONS, Study

ORDERS = {
    "randomised": "each block holds every arm once, in an order drawn from the seed; of two arms, each comes first "
    "equally often",
    "abba": "pairs in twos, the second in the reverse order of the first (ABBA or BAAB, drawn from the seed)",
    "williams": "Williams squares: each arm follows each other one equally often; rows and names drawn from the seed",
}


def detects(plan: RunTable, qualification: Qualification | None) -> str:
    """Return the smallest effect that the plan can see on this machine, in a sentence."""
    study = plan.study
    if plan.pairs < FEWEST:
        return f"below {FEWEST} pairs there is no test and no smallest detectable effect: a description only"
    sd = noise_of(study, qualification.curve if qualification else None)
    if qualification is None or isinstance(sd, str):
        return f"not known: {sd}"
    value = detectable(sd, plan.pairs)
    assert value is not None  # there are six pairs or more
    each, unit = per_deployment(value, study.trace.commits, study.estimand.window_seconds, study.primary.outcome)
    return (
        f"{value:.3g} {study.primary.unit} in a window, which is {each:.3g} {unit} (power 0.8, two-sided level 0.05; "
        f"the noise curve of this machine of {qualification.at[:10]}, upper 80 % bound)"
    )


def duration(seconds: float) -> str:
    """Return a duration in minutes or hours."""
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def table(plan: RunTable) -> Iterator[str]:
    """Yield the run table, one line a run."""
    for row in plan.rows:
        commits = f"{len(row.offsets)} commits" if len(row.offsets) != 1 else "1 commit"
        place = f"block {row.block}  position {row.position}"
        yield f"{row.run_id}  {place}  {row.arm}  {commits}  phase {row.phase_seconds:.1f} s"


def printed(plan: RunTable, qualification: Qualification | None) -> list[str]:
    """Return the lines that ``experiment.plan`` prints."""
    study = plan.study
    return [
        f"{study.name} ({plan.size}): {plan.pairs} {_blocks(study)}, order {study.order}, seed {plan.seed}, "
        f"plan {plan.sha256[:12]}",
        *([] if plan.session is None else [f"  session {plan.session} of the protocol {plan.protocol_sha256[:12]}"]),
        f"  takes about {duration(plan.estimated_seconds())} when no gate has to wait",
        f"  smallest detectable effect: {detects(plan, qualification)}",
        *(f"  {line}" for line in table(plan)),
    ]


def _blocks(study: Study) -> str:
    return "pairs" if len(study.arms) == 2 else "blocks"


def described(study: Study) -> list[str]:
    """Return the lines that ``experiment.show`` prints: the whole study in words, without a seed."""
    lines = [f"{study.name}: {study.title}", study.question, ""]
    for heading, body in _sections(study):
        lines += [heading, *(f"  {line}" for line in body), ""]
    return lines[:-1]


def markdown(plan: RunTable, qualification: Qualification | None) -> str:
    """Return the preregistration: all that was decided before the first run, hash and seed included."""
    study = plan.study
    lines = [
        f"# Preregistration: {study.title}",
        "",
        f"Study `{study.name}`, {plan.size} run. Plan SHA-256 `{plan.sha256}`, seed {plan.seed}: the same study, seed "
        "and number give the same plan, and the bundle of the experiment holds this hash.",
        "",
        *_protocol(plan),
        "## Question",
        "",
        study.question,
        "",
    ]
    for heading, body in _sections(study):
        lines += [f"## {heading}", "", *(f"- {line}" for line in body), ""]
    lines += ["## Number of runs", "", *(f"- {line}" for line in _number(plan, qualification)), ""]
    lines += ["## Code", "", *(f"- `{path}`: SHA-256 `{value}`" for path, value in sorted(plan.code.items())), ""]
    lines += ["## Run table", "", "```", *table(plan), "```", ""]
    return "\n".join(lines)


def _protocol(plan: RunTable) -> list[str]:
    if plan.session is None:
        return []
    return [
        f"Protocol SHA-256 `{plan.protocol_sha256}`, session {plan.session}: order, trace and phases follow from both. "
        "Sessions of this protocol can be pooled, whoever ran them.",
        "",
    ]


def _number(plan: RunTable, qualification: Qualification | None) -> list[str]:
    study = plan.study
    lines = [
        f"{plan.pairs} {_blocks(study)} ({len(plan.rows)} runs). The number is fixed: nobody looks before.",
        f"Smallest detectable effect: {detects(plan, qualification)}.",
        f"Duration: about {duration(plan.estimated_seconds())}.",
    ]
    return lines + ([f"The machine: {qualification.sentence}"] if qualification else [])


def _sections(study: Study) -> Iterator[tuple[str, list[str]]]:
    yield "Arms", list(_arms(study))
    estimand = study.estimand
    yield (
        "Estimand",
        [
            f"Window (T): {estimand.window_seconds:g} s, the same in every arm.",
            f"Done: {estimand.done}.",
            f"Counted: {estimand.boundary}.",
            f"Not counted, or apart: {estimand.outside}.",
            f"Commits: {_trace(study)}.",
        ],
    )
    yield "Outcomes", list(_outcomes(study))
    yield (
        "Design",
        [
            f"Order: {ORDERS[study.order]}.",
            f"A window starts {study.timing.transient_seconds:g} s after its arm was prepared and had made a delivery, "
            f"and a seeded uniform delay below {study.timing.phase_seconds:g} s later"
            + (f" ({study.timing.short_phase_because})." if study.timing.short_phase_because else "."),
            "Flux's own jitter of intervals is off in every window.",
            *_gates(study),
        ],
    )
    yield (
        "Exclusions, declared in advance",
        [
            *ALWAYS_EXCLUDED,
            *(EXCLUSIONS[cause] for cause in study.exclusions),
            f"The block of an excluded run is repeated at the end (at most {study.design.max_repeats} blocks, "
            "interruptions aside); results are given with and without repeated blocks, and nothing is dropped for its "
            "value.",
        ],
    )
    if study.needs or study.notes:
        yield "Notes", [*(f"Needs {need}." for need in study.needs), *study.notes]


def _arms(study: Study) -> Iterator[str]:
    for number, arm in enumerate(study.arms):
        levels = ", ".join(f"{name} = {value}" for name, value in study.levels_of(arm).items())
        role = " (baseline)" if not number else ""
        yield f"{arm}{role}: {study.estimand.arms[arm]}" + (f"; {levels}" if levels else "")
    if study.control:
        known = f", {study.control.known:g} {study.primary.unit} more in the second arm" if study.control.known else ""
        yield f"A control: the answer is known in advance ({study.control.kind}{known})."


def _trace(study: Study) -> str:
    trace = study.trace
    if not trace.commits:
        return "none"
    numbers = " or ".join(map(str, sorted(trace.counts)))
    return (
        f"{numbers} in a window, from {trace.first_seconds:g} s on, {trace.spacing_seconds:g} s apart, each later by a "
        f"seeded uniform share of {trace.jitter_seconds:g} s; the same in every arm of a block"
    )


def _outcomes(study: Study) -> Iterator[str]:
    primary = study.primary
    yield (
        f"Primary: {primary.outcome} ({primary.unit}) in a window; {primary.estimator} with a {primary.interval} "
        f"interval at {100 * primary.confidence:g} %."
    )
    if primary.margin:
        margin = primary.margin
        yield (
            f"No difference: two one-sided tests against ±{margin.value:g} {margin.unit} (the whole plausible effect: "
            f"{margin.plausible:g}). {margin.because}"
        )
    else:
        yield 'No margin is given: the study cannot end in "no difference".'
    yield f"Secondaries, with Holm's correction: {', '.join(study.secondaries) or 'none'}."


def _gates(study: Study) -> Iterator[str]:
    gate = study.gate
    if study.margin_cores is not None:
        yield (
            f"For {gate.patience_seconds:g} s it waits for the node to be within the margin of its baseline "
            f"({study.margin_cores:.2g} cores, which are the margin in a window); after that it starts with a flag."
        )
    if gate.covariate:
        yield "The gate's reading is a covariate: the answer is given at equal gates too."
    bands = [f"{gate.cpu_band_cores:g} cores"]
    bands += [f"{gate.power_band_watts:g} W where power is measured"] if gate.power_band_watts else []
    bands += [f"{gate.temperature_band_celsius:g} °C where the host shows a temperature"]
    yield (
        f"A run starts when all pods are at rest, at most {gate.queue_depth} items wait in work queues, and the node "
        f"is above the idle baseline of its block by at most {', '.join(bands)}; the wait ends in a failed run after "
        f"{gate.timeout_seconds:g} s."
    )
    yield f"Idle baselines of {gate.baseline_seconds:g} s stand before each block and after the last."
