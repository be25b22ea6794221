"""meter.*: what the node's counters are and say."""

from hardwatt.cli.on_host import on_host
from hardwatt.cli.tasks import command
from hardwatt.config.lab import Lab
from hardwatt.core.errors import SettingsError


@command()
@on_host()
def meter_status(lab: Lab) -> None:
    """Print what the meter on the node says: unit, source, model, counters."""
    from hardwatt.lifecycle.inspect import meter

    print(meter(lab))


@command(help={"here": "look at this machine instead of the node", "as_json": "print JSON"})
def meter_list(lab: Lab, here: bool = False, as_json: bool = False) -> None:
    """Watch every energy counter for two seconds: watts, updates, what it covers, and which of them count."""
    from hardwatt.lifecycle.inspect import zones
    from hardwatt.meter import show

    found = zones(lab, here=here)
    print(show.zones_json(found) if as_json else show.zones_text(found))


@command(
    positional=["action"],
    help={
        "action": "show or check",
        "name": "show: this model with its points and source; without it, all of them",
        "file": "check: a file like hardwatt/meter/models.toml; without it, that one",
        "here": "show: look at this machine's processor instead of the node's",
    },
)
def meter_model(lab: Lab, action: str, name: str = "", file: str = "", here: bool = False) -> None:
    """Power models: show them, or one in full; check a file of them."""
    from hardwatt.lifecycle.inspect import processor
    from hardwatt.meter import show

    if action not in ("show", "check"):
        raise SettingsError(f"meter.model {action}: show or check", hint="invoke meter.model show")
    if action == "check":
        print(show.check_models(file))
    else:
        print(show.models_text(name, show.Processor.here() if here else processor(lab)))
