"""Operations of our own: each asks a fact and yields only the commands that are still missing."""

from collections.abc import Generator

Commands = Generator[str, None, None]
"""What an operation yields."""
