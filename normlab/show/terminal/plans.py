"""What a sweep has to do, in words."""

import math

from normlab.config import run_id
from normlab.runs import Plan, labels
from normlab.text import duration, plural, some_of

# Runs of a plan; more are counted.
MOST_LISTED = 40


def plan_lines(plan: Plan) -> list[str]:
    """How many runs a sweep has to make, of how many, and how long that may take."""
    parts = [f"{len(plan.pending)} to make"]
    if plan.finished:
        parts.append(f"{plan.finished} finished before")
    if plan.failed:
        parts.append(f"{plan.failed} failed before (--retry-failed makes them again)")
    lines = [f"{plural(len(plan.configs), 'run')}: {', '.join(parts)}"]
    if plan.equal:
        lines.append(
            f"{plural(plan.equal, 'point')} of the grid left out, with the same values as another"
        )
    if plan.merged:
        lines.append(
            f"{plan.merged} more of the grid would be the same runs again: output, runtime, "
            "launcher and data.root make no other run"
        )
    if plan.of_other_data:
        lines.append(
            f"{plan.of_other_data} finished before of other data than are there now; --force makes "
            "all runs again"
        )
    if plan.weightless:
        verb = "is" if plan.weightless == 1 else "are"
        lines.append(
            f"{plan.weightless} of those to make {verb} finished, and made again to keep weights "
            "or state"
        )
    if plan.of_other_plugins:
        lines.append(
            f"{plural(plan.of_other_plugins, 'run')} with these settings and another source of a "
            "plugin left as they are: what a plugin does may have changed"
        )
    if plan.elsewhere:
        lines.append(_elsewhere_line(plan))
    if plan.pending and not math.isnan(plan.seconds):
        part = f" for {len(plan.pending) - plan.unlike} of them" if plan.unlike else ""
        others = ", which the others are not" if plan.unlike else ""
        lines.append(
            f"about {duration(plan.seconds)} of computing{part}, by the finished runs most "
            f"alike{others}"
        )
    return lines


def _elsewhere_line(plan: Plan) -> str:
    """That equal runs are finished in other experiments, and how they are taken as they are."""
    experiments = list(dict.fromkeys(folder.parent.name for folder in plan.elsewhere))
    count = len({folder.name for folder in plan.elsewhere})
    advice = f"; output.experiment={experiments[0]} takes them" if len(experiments) == 1 else ""
    return (
        f"{count} of those to make {'is' if count == 1 else 'are'} finished in "
        f"{some_of(experiments, 3)}, and made anew for this experiment, whose folder holds all of "
        f"its runs{advice}"
    )


def run_lines(plan: Plan) -> list[str]:
    """The runs that a sweep would make, each by what sets it apart; the first `MOST_LISTED`."""
    names = labels(plan.configs)
    lines = [f"  {names[run_id(config)]}" for config in plan.pending[:MOST_LISTED]]
    more = len(plan.pending) - len(lines)
    return [*lines, *([f"  and {more:,} more"] if more else [])]


def left_alone_line(plan: Plan) -> str:
    """Why a sweep that had to do nothing more is not whole."""
    return f"{plan.failed} failed before and left alone; --retry-failed makes them again"


def waiting_line(runs: int) -> str:
    """What a sweep waits for that has nothing more of its own to do."""
    return f"waiting for {plural(runs, 'run')} that another process is making"
