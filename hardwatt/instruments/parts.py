"""Parts of a window: the same counters, read for equal slots that follow each other inside one run."""

import dataclasses

from hardwatt.bundle.model import Run
from hardwatt.bundle.reader import Bundle
from hardwatt.core.errors import LabError
from hardwatt.instruments import node, recorded_energy, recorder
from hardwatt.instruments.figure import Figure
from hardwatt.instruments.recorded_window import at_ticks, span
from hardwatt.instruments.windows import WindowError

CPU, JOULES = OUTCOMES = ("node_cpu_seconds", "node_joules")


def slots(bundle: Bundle, run: Run, seconds: float, outcome: str = CPU) -> list[Figure]:
    """Return an outcome of the whole node in each slot of ``seconds``, in order, for exactly that length.

    A run with a recording is cut at the recorder's ticks, another one at its scraped samples. What is left of the
    window at its end is not used.

    Raises ``LabError`` if a slot cannot be read; joules are read from recordings alone.
    """
    count = int((run.t1_ms - run.t0_ms) / 1000 / seconds + 0.02)
    length = min(1000 * seconds, (run.t1_ms - run.t0_ms) / count) if count else 0.0
    ends = [run.t0_ms + round(number * length) for number in range(count + 1)]
    try:
        return [_slot(bundle, run, ends[number : number + 2], seconds, outcome) for number in range(count)]
    except WindowError as error:
        raise LabError(f"{outcome} of a part of {run.run_id} in {bundle.path} is not known: {error.reason}") from error


def _slot(bundle: Bundle, run: Run, ends: list[int], seconds: float, outcome: str) -> Figure:
    t0_ms, t1_ms = ends
    recording = bundle.recording(run.run_id)
    if recording is None:
        if outcome != CPU:
            raise WindowError("the run has no recording")
        figure = node.cpu_seconds_by_samples(bundle, dataclasses.replace(run, t0_ms=t0_ms, t1_ms=t1_ms))
    else:
        t0_ms, t1_ms = at_ticks(recording, t0_ms, t1_ms)
        window = span(recording, t0_ms, t1_ms)
        if outcome == CPU:
            figure = recorder.node_cpu_seconds(bundle, window)
        else:
            energy = dict(recorded_energy.energy(bundle, window))[outcome]
            if isinstance(energy, str):
                raise WindowError(energy)
            figure = energy
    scale = seconds / ((t1_ms - t0_ms) / 1000)
    return Figure(figure.value * scale, figure.unit, figure.source, figure.low * scale, figure.high * scale)
