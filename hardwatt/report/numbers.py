"""The text of a figure: enough digits for its interval, never more. No number is made here."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable

from hardwatt.analysis.sections import ResultFigure, Verdict

MOST_DECIMALS = 6
MINUS = "\N{MINUS SIGN}"
PLURALS = {
    "pairs": "pair",
    "commits": "commit",
    "windows": "window",
    "fetches": "fetch",
    "rows": "row",
    "blocks": "block",
    "deployments": "deployment",
}
NARROW = "\N{NARROW NO-BREAK SPACE}"


def decimals(value: float, low: float | None = None, high: float | None = None) -> int:
    """Digits after the point: two significant ones of the interval's width, else three of the value."""
    if float(value).is_integer() and (low is None or high is None or low == high):
        return 0
    width = abs(high - low) if low is not None and high is not None else 0.0
    if width > 0:
        return max(0, min(MOST_DECIMALS, 1 - math.floor(math.log10(width))))
    return max(0, min(MOST_DECIMALS, 2 - math.floor(math.log10(abs(value))))) if value else 0


def number(value: float, places: int, sign: bool = False) -> str:
    """Write *value* with *places* decimals, a real minus sign, and thin gaps from five digits on."""
    text = f"{abs(value):,.{places}f}"
    if len(text.split(".")[0].replace(",", "")) < 5:
        text = text.replace(",", "")
    text = text.replace(",", NARROW)
    if not any(digit in "123456789" for digit in text):
        return text
    return (MINUS if value < 0 else "+" if sign else "") + text


def shared(figures: Iterable[ResultFigure]) -> int:
    """Digits after the point for figures that stand below each other: as few as any of them has."""
    known = [decimals(f.value, f.low, f.high) for f in figures if f.value is not None]
    return min((places for places in known if places), default=0)


def point(figure: ResultFigure, sign: bool = False, places: int | None = None) -> str:
    """Write the value of a figure without its unit, with its own digits unless *places* are given."""
    value = figure.value
    if value is None:
        return "not measured"
    own = decimals(value, figure.low, figure.high)
    if 0 < abs(value) < 10.0**-MOST_DECIMALS / 2 and own == MOST_DECIMALS:
        return f"under {10.0**-MOST_DECIMALS:.{MOST_DECIMALS}f}"
    return number(value, own if places is None or value == 0 else places, sign=sign)


def size(figure: ResultFigure) -> str:
    """Write how large the value is, for a sentence that says "more" or "less" itself."""
    return point(figure).removeprefix(MINUS)


def said(verdict: Verdict) -> str:
    """Write a verdict: its word, where there is one to give, and its sentence."""
    return verdict.why if verdict.word in ("nothing", "description") else f"Verdict: {verdict.word}. {verdict.why}"


def interval(figure: ResultFigure, sign: bool = False, places: int | None = None) -> str:
    """Write the interval of a figure as ``low to high``, or an empty text where it has none to show."""
    value, low, high = figure.value, figure.low, figure.high
    if value is None or low is None or high is None:
        return ""
    digits = decimals(value, low, high) if places is None else places
    ends = [number(bound, digits, sign=sign) for bound in (low, high)]
    return " to ".join(ends) if ends[0] != ends[1] else ""


def bounds(figure: ResultFigure, sign: bool = False, places: int | None = None) -> str:
    """Write the bounds of a measured figure as ``low to high``, rounded outwards: what they hold, the text holds."""
    value, low, high = figure.value, figure.low, figure.high
    if value is None or low is None or high is None or low == high:
        return ""
    step = 10.0 ** (own := max(decimals(value, low, high), places or 0))
    ends = math.floor(low * step) / step, math.ceil(high * step) / step
    return " to ".join(number(bound, own, sign=sign) for bound in ends)


def scaled(figure: ResultFigure, sign: bool = False) -> str:
    """Write the systematic part as ``low to high`` with three digits of the larger end; empty where there is none."""
    if figure.systematic is None:
        return ""
    ends = figure.systematic.low, figure.systematic.high
    largest = max(map(abs, ends))
    digits = max(0, min(MOST_DECIMALS, 2 - math.floor(math.log10(largest)))) if largest else 0
    return " to ".join(number(bound, digits, sign=sign) for bound in ends)


def unit(figure: ResultFigure) -> str:
    """Write the unit; of exactly one counted thing in the singular."""
    name = figure.unit
    if figure.value != 1 or name not in PLURALS:
        return name
    return PLURALS[name]


def plain(figure: ResultFigure, sign: bool = False) -> str:
    """Write value and unit, for Markdown and for alt texts."""
    if figure.value is None:
        return "not measured"
    written = point(figure, sign=sign)
    return written if figure.unit == "1" else f"{written} {unit(figure)}"


def machine(value: float) -> str:
    """Write a number for a machine to read: plain digits, as in results.json."""
    return format(value, ".9g")


def p_value(figure: ResultFigure) -> str:
    """Write a p-value with two digits; a very small one as a limit."""
    value = figure.value
    if value is None:
        return "not known"
    if value < 1e-4:
        return "under 0.0001"
    return f"{value:.{max(2, 1 - math.floor(math.log10(value)))}f}" if value < 0.995 else "1.00"


def markdown(text: object) -> str:
    """Write foreign text for Markdown: marks of its syntax are escaped, and it stays on its line."""
    line = "".join(" " if unicodedata.category(letter).startswith("C") else letter for letter in str(text))
    for mark in ("\\", "|", "`", "*", "[", "]"):
        line = line.replace(mark, f"\\{mark}")
    return line.replace("<", "&lt;").replace(">", "&gt;")
