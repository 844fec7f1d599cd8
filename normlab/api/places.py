"""Where results lie, and what is done with news that nobody wants."""

from collections.abc import Callable, Sequence
from pathlib import Path

# Each of these loads what it needs when it is first asked for it.
from normlab import analysis
from normlab import runs as run_files

Place = str | Path
RESULTS = Path("results")


def ignore(*_: object) -> None:
    """Hear of something and do nothing."""


def places_to_compare(
    folders: Sequence[Place],
    where: Sequence[str] = (),
    root: Place = RESULTS,
    on_choice: Callable[[str], object] = ignore,
) -> list[Path]:
    """The named folders; without any the experiment below `root` that was made last.

    Unlike experiments share no table of a few keys, and no picture. `where` may name the experiment
    itself; then it is `root`. `on_choice` hears, in words, which of several it is.
    """
    if folders:
        return [Path(folder) for folder in folders]
    if any(analysis.check_where(expression).key == "experiment" for expression in where):
        return [Path(root)]
    latest, several = run_files.latest_experiment(Path(root))
    if several < 2:
        return [Path(root)]
    on_choice(
        f"of {latest}, the latest of {several} experiments; name its folder for another, "
        f"{root} for all of them"
    )
    return [latest]
