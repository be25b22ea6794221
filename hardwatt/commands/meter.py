"""meter.*: what the node's counters are and say."""

from hardwatt.commands import command
from hardwatt.lab import Lab


@command()
def meter_status(lab: Lab) -> None:
    """Print what the meter on the node says: unit, source, model, counters."""
    from hardwatt.lookat import meter

    print(meter(lab))


@command(help={"here": "look at this machine instead of the node", "as_json": "print JSON"})
def meter_list(lab: Lab, here: bool = False, as_json: bool = False) -> None:
    """Watch every energy counter for two seconds: watts, updates, what it covers, and which of them count."""
    from hardwatt.lookat import zones
    from hardwatt.meter import show

    found = zones(lab, here=here)
    print(show.zones_json(found) if as_json else show.zones_text(found))


@command(
    positional=["action"],
    help={
        "action": "show or check",
        "name": "show: this model with its points and source; without it, all of them",
        "file": "check: a file like hardwatt/meter/models.toml; without it, that one",
    },
)
def meter_model(lab: Lab, action: str, name: str = "", file: str = "") -> None:
    """Power models: show them, or one in full; check a file of them."""
    from hardwatt.meter import show

    print(show.models(action, name=name, file=file))
