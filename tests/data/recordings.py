"""What real tools printed, for tests of what reads their output.

The first line of each file beside this one says which version printed the rest, and how it was recorded.
``python -m tests.data.record`` records again what this machine has the tool for.
"""

from pathlib import Path

FOLDER = Path(__file__).parent


def recorded(name: str) -> str:
    """Return a recording without the line that says where it is from."""
    first, _, text = (FOLDER / f"{name}.txt").read_text().partition("\n")
    assert first.startswith("# "), f"{name} does not say what printed it"
    return text
