"""Energy in other units, and the words for it."""

import re
from decimal import Decimal, InvalidOperation

from hardwatt.core.errors import LabError

PREFIXES = {"n": -9, "u": -6, "µ": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12}
UNITS = {"J": Decimal(1), "Ws": Decimal(1), "Wh": Decimal(3600)}
_QUANTITY = re.compile(r"\s*(?P<number>[-+]?[\d.,_]+(?:[eE][-+]?\d+)?)\s*(?P<unit>\S+)\s*")
_KNOWN = "J, Ws and Wh, each with n, u, m, k, M, G or T before it: mJ, kWh"

BEGINNERS = """\
Joule for beginners

  joule (J)   energy: an amount. A watt for a second. Lifting an apple by a metre takes about one.
  watt (W)    power: how fast energy is used. A joule a second.
  watt-hour   energy again: a watt for an hour. 1 Wh = 3600 J, and 1 kWh = 3 600 000 J.

  energy = power x time       a 60 W node for an hour: 60 W x 3600 s = 216 000 J = 60 Wh

The talk of 2022 wrote "1 W/h = 3600 J = 3600000 mJ". It is 1 Wh (watt TIMES hour) = 3600 J. "W/h" would be power that
grows by a watt each hour, and is no energy at all.

  millijoule (mJ)        a thousandth of a joule: 3600 J are 3 600 000 mJ
  pod_curr_energy_...    mJ of the last 3 seconds: divided by 3 it is milliwatts. 394 mJ are 131 mW.
  a counter (_total)     take what it gained between two moments, never its value, and no rate() of a gauge.
  Prometheus' answer     is [time, value]: 1664037900.094 is a day in 2022, and no energy.

  invoke energy.convert 394mJ kWh            invoke energy.query namespace-sum
  invoke energy.query pod-package --last 1h  joules of the last hour, with bounds

Here joules may be modelled from CPU-seconds (invoke meter.list says which): then they are no measurement."""


def convert(quantity: str, unit: str) -> str:
    """Return an energy in another unit, as in ``convert("394mJ", "kWh")``.

    Raises ``LabError`` for what is no number, no unit of energy, or power.
    """
    matched = _QUANTITY.fullmatch(quantity)
    if matched is None:
        raise LabError(f"{quantity!r} is not a number with a unit", hint="invoke energy.convert 394mJ kWh")
    try:
        number = Decimal(matched["number"].replace("_", "").replace(",", ""))
    except InvalidOperation:
        raise LabError(f"{matched['number']!r} is not a number", hint="invoke energy.convert 394mJ kWh") from None
    result = number * joules_in(matched["unit"]) / joules_in(unit)
    return f"{_plain(number)} {matched['unit']} = {_plain(result)} {unit}"


def joules_in(unit: str) -> Decimal:
    """Return how many joules a unit holds. Raises ``LabError``."""
    for base, size in UNITS.items():
        prefix = unit.removesuffix(base)
        if unit.endswith(base) and prefix in PREFIXES:
            return size.scaleb(PREFIXES[prefix])
    if re.fullmatch(r"[numkMGTµ]?W/h", unit):
        raise LabError(
            f"{unit} is not energy: a watt divided by an hour is power that grows",
            hint=f"did you mean {unit.replace('/', '')}? 1 Wh = 3600 J; see invoke energy.help",
        )
    if re.fullmatch(r"[numkMGTµ]?W", unit):
        raise LabError(
            f"{unit} is power, not energy: it takes a time to make one of the other", hint="invoke energy.help"
        )
    raise LabError(f"{unit!r} is not a unit of energy", hint=f"known: {_KNOWN}")


def _plain(number: Decimal) -> str:
    return f"{float(number):.6g}"
