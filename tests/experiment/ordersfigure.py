"""The figure and the table of ``docs/orders.md``, made of the numbers in ``docs/orders.json`` alone."""

from typing import Any

BEGIN, END = "<!-- numbers: python -m tests.experiment.orders -->\n", "<!-- end of numbers -->"
TITLES = {
    "blocked": "all of A, then all of B",
    "shuffled": "shuffled",
    "randomised": "randomised pairs",
    "abba": "ABBA pairs",
}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, ROW = 800, 330, 190, 190, 40, 62
LOW, HIGH = -1.0, 1.6
INK, SOFT, DOT, MEAN = "#1b1f24", "#8a929c", "#3b6ea5", "#b3261e"


def x_of(percent: float) -> float:
    """Return where a percentage stands on the axis."""
    inside = min(HIGH, max(LOW, percent))
    return LEFT + (inside - LOW) / (HIGH - LOW) * (WIDTH - LEFT - RIGHT)


def svg(numbers: dict[str, Any]) -> str:
    """Return the figure: every session's estimate where there is no effect, the mean, and the false positives."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" fill="{INK}" role="img">',
        "<title>Estimates of a difference that is not there, in four orders of runs, under drift</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{WIDTH - RIGHT + 14}" y="{TOP - 16}" font-weight="bold">bias, false positives</text>',
        *_axis(len(numbers["orders"])),
    ]
    for number, row in enumerate(numbers["orders"]):
        parts += _row(row, TOP + number * ROW)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axis(rows: int) -> list[str]:
    bottom = TOP + rows * ROW
    parts = []
    for tick in (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5):
        x = x_of(tick)
        parts.append(
            f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{INK if not tick else SOFT}" '
            f'stroke-width="{1.4 if not tick else 0.4}"/>'
        )
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{f"{tick:+.1f}" if tick else "0"}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{bottom + 38}" text-anchor="middle">'
        "estimate of B minus A, where they are the same: percent of a window's CPU time</text>"
    )
    return parts


def _row(row: dict[str, Any], top: float) -> list[str]:
    middle, spread = top + ROW / 2 - 4, ROW / 2 - 10
    parts = [f'<text x="{LEFT - 12}" y="{middle + 5:.0f}" text-anchor="end">{TITLES[row["order"]]}</text>']
    for number, estimate in enumerate(row["estimates"]):
        offset = ((number * 0.618034) % 1.0 - 0.5) * 2 * spread
        parts.append(
            f'<circle cx="{x_of(estimate):.1f}" cy="{middle + offset:.1f}" r="2" fill="{DOT}" fill-opacity="0.45"/>'
        )
    mean = x_of(row["bias"])
    parts.append(
        f'<line x1="{mean:.1f}" y1="{middle - spread - 3:.1f}" x2="{mean:.1f}" y2="{middle + spread + 3:.1f}" '
        f'stroke="{MEAN}" stroke-width="2.5"/>'
    )
    parts.append(
        f'<text x="{WIDTH - RIGHT + 14}" y="{middle + 5:.0f}">{row["bias"]:+.2f} %, {row["false_positives"]:g} %</text>'
    )
    return parts


def table(numbers: dict[str, Any]) -> str:
    """Return the numbers as a Markdown table."""
    effect = 100 * numbers["truth"]["effect"]
    lines = [
        f"| order | bias | spread of estimates (SD) | false positives | a true {effect:g} % is found | its bias |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in numbers["orders"]:
        cells = (
            TITLES[row["order"]], f"{row['bias']:+.3f} %", f"{row['sd']:.3f} %", f"{row['false_positives']:g} %",
            f"{row['found']:g} %", f"{row['bias_with_effect']:+.3f} %",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    runs, truth = 2 * numbers["pairs"], _truth(numbers["truth"])
    failed = sum(row["failed_runs"] for row in numbers["orders"])
    sessions = 2 * numbers["sessions"] * len(numbers["orders"])
    lines += [
        "",
        f"{numbers['sessions']} sessions of {runs} runs for each order, once without an effect and once with one "
        f"({sessions} sessions, {failed} failed runs, whose pairs were repeated). The truth: {truth}. "
        "All percentages of bias and spread are of the idle node's CPU time in a window.",
    ]
    return "\n".join(lines) + "\n"


def _truth(truth: dict[str, float]) -> str:
    share = {name: f"{100 * value:g} %" for name, value in truth.items()}
    return (
        f"drift {share['drift']} over a session, noise {share['noise']} of a window (SD), {share['carry_over']} of an "
        f"arm's own extra left in the run after it, {share['failing']} of first deliveries never Ready, "
        f"{share['gaps']} of dumps incomplete, a counter reset in {share['resets']} of runs"
    )


def page(text: str, numbers: dict[str, Any]) -> str:
    """Return the page with the table of these numbers in its place."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}{table(numbers)}{END}{rest.split(END)[1]}"
