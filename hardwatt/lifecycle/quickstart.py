"""``make lab``: the lab, the first experiment, its report; the report's path is the last line."""

from pathlib import Path

from hardwatt.config.lab import Lab
from hardwatt.core.errors import LabError
from hardwatt.core.progress import say
from hardwatt.machines import choice
from hardwatt.machines.lab_context import LabContext
from hardwatt.meter import sources

STUDY = "push-vs-pull"
NO_LAB = 3
"""Exit code: there is a report, but of the shipped bundle; no lab was made."""


def obstacle(lab: Lab) -> str:
    """Return why this machine can carry no lab, in one line; empty if it can.

    A host named in ``lab.toml`` is never in the way: its own checks are made over SSH.
    """
    return "; ".join(problem.what for problem in choice.problems(lab))


def quickstart(lab: Lab, shipped: Path) -> int:
    """Bring the lab up, run the first experiment and print the path of its report.

    Returns the exit code: 0, or ``NO_LAB`` where only the shipped bundle could be reported.
    """
    from hardwatt.report.render import report

    if reason := obstacle(lab):
        say(f"no lab here: {reason}")
        say('with a Linux host of yours: copy lab.example.toml to lab.toml, set machine = "ssh" and [host], then')
        say("  invoke lab.trust HOST, and what it prints as next; invoke lab.up; invoke experiment.run push-vs-pull")
        try:
            print(report(shipped))
        except LabError as error:
            say(str(error))
        print("shipped bundle, no lab")
        return NO_LAB
    from hardwatt.experiment import operations
    from hardwatt.lifecycle.up import up

    counter = own_counter(lab)
    if counter:
        say(counter)
    up(lab)
    path = report(operations.run(lab, STUDY))
    if counter:
        say(counter)
    print(path)
    return 0


def own_counter(lab: Lab) -> str:
    """Return one line where this machine's own energy counter works and the lab's joules are modelled; else nothing."""
    kind = LabContext.of(lab).machine.kind
    if lab.settings.meter.source == "rapl" or kind == "ssh":
        return ""
    try:
        counters = sources.here_as_root()
    except LabError:  # without root nobody reads the counters
        return ""
    if counters.source != "rapl":
        return ""
    setting = 'machine = "embedded", and source = "rapl"' if kind == "vm" else 'source = "rapl"'
    names = " + ".join(zone.entry for zone in counters.zones if zone.counted)
    return (
        f"this machine's own RAPL counts ({names}), but this lab's joules are modelled from CPU-seconds; "
        f"with {setting} in [meter] of lab.toml they are measured, for all that runs on this machine"
    )
