"""The end of a run's list where the rest needs a reboot: facts change with it, so it is a run of its own."""

from pyinfra.api import deploy

from deploys.labdata import reboot_reasons
from deploys.operations import boot


@deploy("Reboot")
def configure() -> None:
    """Say that the rest waits, where it does; the steps after this one then do nothing in this run."""
    if reasons := reboot_reasons():
        boot.waits(name="The rest waits for it", reasons=reasons)
