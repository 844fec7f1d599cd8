"""Where results lie, and what is done with news that nobody wants."""

from pathlib import Path

Place = str | Path
RESULTS = Path("results")


def ignore(*_: object) -> None:
    """Hear of something and do nothing."""
