"""energy.*: the talk's queries and its units."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardwatt.cli.on_host import on_host
from hardwatt.cli.registry import LAB, command

if TYPE_CHECKING:
    from hardwatt.config.lab import Lab

QUERIES = ("pod-package", "dram", "totals", "namespace-sum", "node")


@command(
    "energy.query",
    needs=LAB,
    arguments={
        "query": f"{', '.join(QUERIES)}, or any PromQL",
        "last": "joules of the last 90s, 5m, 1h: of a query by name, from raw samples, with bounds",
        "namespace": "namespace of a query by name (all: every one)",
        "as_json": "print JSON",
    },
    values={"query": QUERIES},
)
@on_host()
def energy_query(
    lab: Lab, query: str, *, last: str = "", namespace: str = "flux-system", as_json: bool = False
) -> None:
    """Ask the lab's Prometheus, with the queries of the talk by name."""
    from hardwatt.energy import query as energy

    print(energy.query(lab, query, last=last, namespace=namespace, as_json=as_json))


@command("energy.convert", arguments={"quantity": "as in 394mJ", "unit": "as in kWh"})
def energy_convert(quantity: str, unit: str) -> None:
    """Convert an energy: invoke energy.convert 394mJ kWh."""
    from hardwatt.energy import units

    print(units.convert(quantity, unit))


@command("energy.help")
def energy_help() -> None:
    """Print joules for beginners, on one screen."""
    from hardwatt.energy import units

    print(units.BEGINNERS)
