"""The node's meter: CPU-seconds always, a modelled powercap tree where there is no counter."""

from io import StringIO
from pathlib import Path

from pyinfra import host
from pyinfra.operations import files

from deploys.labdata import confined, lab, step
from deploys.operations import units

CONFIG = "/etc/hardwatt/meter.json"
SERVICE = "hardwatt-meter.service"
LABEL = "system_u:object_r:container_file_t:s0"
"""A tmpfs has a type of its own, which containers may not open."""


@step("Meter")
def configure() -> None:
    """Install the daemon with its configuration, and have it run before any pod does."""
    meter = lab().meter
    for dest, src in host.loop(sorted(meter.files.items())):  # type: ignore[no-untyped-call] # gives each turn its place
        files.put(name=f"File {dest}", src=_file(src), dest=dest, mode="644")
    files.put(name="Configuration", src=StringIO(meter.text), dest=CONFIG, mode="644")
    # pods see what is mounted before they start, so the mounts come first
    for name in host.loop(meter.mounts):  # type: ignore[no-untyped-call] # gives each turn its place
        units.unit(name=f"Mount {name}", unit=name)
    daemon = [dest for dest in sorted(meter.files) if dest.endswith(".py")]
    units.unit(name="Service", unit=SERVICE, files=[CONFIG, *daemon])


def _file(src: str) -> str | StringIO:
    """Return a file's path, or its text with the label that lets a confined pod read what is mounted."""
    if not (src.endswith(".mount") and confined()):
        return src
    return StringIO(Path(src).read_text().replace("\nOptions=", f"\nOptions=context={LABEL},"))
