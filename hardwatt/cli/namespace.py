"""Every task under its name: one file a collection, and the commands on bundles out of the registry."""

from collections.abc import Sequence

from invoke import Collection, Program

from hardwatt.cli import bundles, energy, experiment, gitops, lab, meter, mirror
from hardwatt.cli.bundle_commands import COMMANDS
from hardwatt.cli.tasks import collection, task_of


def namespace() -> Collection:
    """Return the tasks as Invoke wants them."""
    whole = Collection()
    labs = collection("lab", lab)
    labs.add_collection(collection("machine", lab))
    experiments = collection("experiment", experiment, bundles)
    for command in COMMANDS:
        experiments.add_task(task_of(command), name=command.name)
    for made in (
        labs,
        collection("mirror", mirror),
        collection("gitops", gitops),
        collection("energy", energy),
        collection("meter", meter),
        experiments,
    ):
        whole.add_collection(made)
    return whole


def run(words: Sequence[str]) -> int:
    """Run a command line of ``invoke``, in whichever folder, and return its exit code."""
    try:
        Program(name="Invoke", binary="invoke", namespace=namespace()).run(["invoke", *words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
