"""meter.*: what the node's counters are and say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardwatt.cli.on_host import on_host
from hardwatt.cli.registry import LAB, command
from hardwatt.core.errors import SettingsError

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab

ACTIONS = ("show", "check")


def models() -> list[str]:
    """Return the names of the power models."""
    from hardwatt.meter.models import load_models

    return list(load_models())


@command("meter.status", needs=LAB)
@on_host()
def meter_status(lab: Lab) -> None:
    """Print what the meter on the node says: unit, source, model, counters."""
    from hardwatt.lifecycle.inspect import meter

    print(meter(lab))


@command(
    "meter.list",
    needs=LAB,
    arguments={"here": "look at this machine instead of the node", "as_json": "print JSON"},
)
def meter_list(lab: Lab, *, here: bool = False, as_json: bool = False) -> None:
    """Watch every energy counter for two seconds: watts, updates, what it covers, and which of them count."""
    from hardwatt.lifecycle.inspect import zones
    from hardwatt.meter import show

    watched = zones(lab, here=here)
    print(show.zones_json(watched) if as_json else show.zones_text(watched))


@command(
    "meter.model",
    needs=LAB,
    arguments={
        "action": "show or check",
        "name": "show: this model with its points and source; without it, all of them",
        "file": "check: a file like hardwatt/meter/models.toml; without it, that one",
        "here": "show: look at this machine's processor instead of the node's",
    },
    values={"action": ACTIONS, "name": models},
)
def meter_model(lab: Lab, action: str, *, name: str = "", file: str = "", here: bool = False) -> None:
    """Power models: show them, or one in full; check a file of them."""
    from hardwatt.core.nearest import corrected, did_you_mean
    from hardwatt.lifecycle.inspect import processor
    from hardwatt.meter import show

    if action not in ACTIONS:
        raise SettingsError(
            f"meter.model has no action {action!r}; {did_you_mean(action, ACTIONS, 'actions')}",
            hint=corrected("invoke meter.model", action, ACTIONS),
        )
    if action == "check":
        print(show.check_models(file))
    else:
        print(show.models_text(name, show.Processor.here() if here else processor(lab)))
