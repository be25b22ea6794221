"""The figures of a pass as a table, from each study's results.json."""

from collections.abc import Sequence
from typing import Any

HEAD = (
    "| study | contrast | difference in a window | interval | unit | blocks |\n"
    "|---|---|--:|---|---|--:|\n"
)  # fmt: skip


def rows(name: str, results: dict[str, Any]) -> list[str]:
    """Return a line for each contrast of a study's primary outcome."""
    blocks = results["n"]["value"]
    if results["several"] and results["several"]["contrasts"]:
        return [
            _row(name, one["direction"], one["difference"], results["several"]["blocks"]["value"])
            for one in results["several"]["contrasts"]
        ]
    primary = results["primary"]
    return [_row(name, primary["direction"], primary["estimate"], blocks)]


def _row(name: str, direction: str, figure: dict[str, Any], blocks: float) -> str:
    low, high = figure["low"], figure["high"]
    interval = "none" if low is None or low == high else f"{low:.2f} to {high:.2f}"
    value = "none" if figure["value"] is None else f"{figure['value']:.2f}"
    return f"| `{name}` | {direction} | {value} | {interval} | {figure['unit']} | {blocks:g} |"


def table(lines: Sequence[str]) -> str:
    """Return the whole table in Markdown."""
    return HEAD + "\n".join(lines) + "\n"
