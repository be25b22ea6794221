"""The talk's own measurement, made again: Flux's controllers at rest here, beside the table of 2022.

What is measured here are CPU-seconds by namespace, and the node's figure with Flux and without; the talk's milliwatts
come from another node, with four controllers, at one instant. They stand side by side, and no difference is computed.
"""

from __future__ import annotations

from pathlib import Path

from hardwatt.analysis.figures import figure
from hardwatt.analysis.talk import published
from hardwatt.analysis.talk_model import TalkRow
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.outcomes import measure

STUDY = "talk-at-rest"
NAMESPACE = "cpu_seconds.flux-system"
NODE, JOULES = "node_cpu_seconds", "node_joules"


def beside_the_talk(bundle_path: Path | str) -> list[TalkRow]:
    """Return the rows of both, from a bundle of the study ``talk-at-rest``.

    Raises ``LabError`` for a bundle of another study, or one without a complete run of each arm.
    """
    bundle = Bundle.open(bundle_path)
    if bundle.plan.study != STUDY:
        raise LabError(f"{bundle.path} is of the study {bundle.plan.study}", hint=f"invoke experiment.run {STUDY}")
    without, with_flux = bundle.plan.arms[:2]
    figures = {(outcome.run_id, outcome.name): outcome.figure for outcome in measure(bundle).outcomes}
    seconds = {run.run_id: run.seconds for run in bundle.runs}
    arms = {run.run_id: run.arm for run in bundle.runs if run.status == "done"}

    def mean(name: str, arm: str) -> tuple[float, Figure]:
        own = [(figures[run, name], seconds[run]) for run, its in arms.items() if its == arm and (run, name) in figures]
        if not own:
            raise LabError(f"no complete run of {arm} has the outcome {name}", hint=f"invoke experiment.run {STUDY}")
        return sum(measured.value / long for measured, long in own) / len(own), own[0][0]

    pods, sample = mean(NAMESPACE, with_flux)
    label = "here: pods of flux-system at rest, two controllers"
    rows = [TalkRow(label, figure(1000 * pods, "CPU-ms per s", sample.source))]
    for name, unit in ((NODE, "CPU-ms per s"), (JOULES, "mW")):
        (more, sample), (less, _) = mean(name, with_flux), mean(name, without)
        label = f"here: the node with Flux less without, {name}"
        rows.append(TalkRow(label, figure(1000 * (more - less), unit, sample.source)))
    return [*rows, *_of_2022()]


def _of_2022() -> list[TalkRow]:
    data = published()
    every = float(data.sample_seconds)
    return [
        TalkRow(
            f"talk: {len(reading.millijoules)} controllers, {reading.zone}",
            figure(
                sum(reading.millijoules.values()) / every,
                "mW",
                f"RAPL by Kepler, one instant, {data.commits[reading.commit][:12]}",
            ),
        )
        for reading in data.reading
    ]
