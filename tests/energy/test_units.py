import pytest

from hardwatt.core.errors import LabError
from hardwatt.energy import units


@pytest.mark.parametrize(
    ("quantity", "unit", "text"),
    [
        ("394mJ", "kWh", "394 mJ = 1.09444e-07 kWh"),
        ("1 Wh", "J", "1 Wh = 3600 J"),
        ("3600000mJ", "Wh", "3.6e+06 mJ = 1 Wh"),
        ("1kWh", "MJ", "1 kWh = 3.6 MJ"),
        ("5e3 Ws", "kJ", "5000 Ws = 5 kJ"),
        ("-2µJ", "nJ", "-2 µJ = -2000 nJ"),
    ],
)
def test_conversions(quantity: str, unit: str, text: str) -> None:
    assert units.convert(quantity, unit) == text


@pytest.mark.parametrize(
    ("quantity", "unit", "message"),
    [
        ("1W/h", "J", "power that grows.*did you mean Wh"),
        ("1kWh", "kW", "kW is power, not energy"),
        ("12 apples", "J", "'apples' is not a unit of energy"),
        ("mJ", "J", "not a number with a unit"),
        ("1.2.3J", "J", "'1.2.3' is not a number"),
        ("1J", "xJ", "'xJ' is not a unit"),
    ],
)
def test_what_is_no_energy_is_told_so(quantity: str, unit: str, message: str) -> None:
    with pytest.raises(LabError, match=f"(?s){message}"):
        units.convert(quantity, unit)


def test_the_page_for_beginners_puts_the_talks_unit_right() -> None:
    """One screen, and its own sums are right."""
    assert len(units.BEGINNERS.splitlines()) <= 30
    assert "1 Wh (watt TIMES hour) = 3600 J" in units.BEGINNERS
    assert units.convert("60Wh", "J") == "60 Wh = 216000 J"
    assert units.convert("3600000mJ", "J") == "3.6e+06 mJ = 3600 J"
    assert round(394 / 3) == 131
