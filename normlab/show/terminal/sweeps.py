"""A sweep's runs: what is read at its end, whole or stopped."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from normlab.analysis import arms_in_words, counts, findings, layout, read_results, summarize
from normlab.plugins import command
from normlab.runs import Plan, run_folder
from normlab.show.comparisons.comparing import Comparison
from normlab.show.comparisons.origins import origin_notes
from normlab.show.terminal.arm_gradients import MOST_ARMS, arm_gradients
from normlab.show.terminal.arms_so_far import ArmsSoFar
from normlab.show.terminal.comparison_tables import comparison_table
from normlab.show.terminal.plain_tables import facts_table
from normlab.show.terminal.run_lists import counts_line

if TYPE_CHECKING:
    from pandas import DataFrame

SWEEP_METRICS = ("train_acc", "gradient_ratio_init", "gradient_ratio_end")
# So many folders are named in a command.
MOST_NAMED = 3


def sweep_report(plan: Plan, width: int) -> Group:
    """What a person reads at a sweep's end: the comparison, each arm in a sentence, what depth did,
    and a picture of the gradients."""
    frame = _runs_of(plan)
    if frame.empty:
        return Group(Text("no run has ended yet"))
    return Group(
        _table(frame),
        Text(),
        *_in_words(frame),
        *_picture(frame, width),
    )


def _in_words(frame: "DataFrame") -> list[RenderableType]:
    """A sentence for each of a few arms, or one about the gradients of many, and that on depth."""
    arms, sentences = arms_in_words(frame), findings(frame)
    if not 0 < len(arms) <= MOST_ARMS:
        return [Text(sentence) for sentence in sentences]
    table = facts_table()
    for name, sentence in arms:
        table.add_row(Text(name), Text(sentence))
    on_depth = [part for sentence in sentences[1:] for part in (Text(), Text(sentence))]
    return [table, *on_depth]


def _picture(frame: "DataFrame", width: int) -> list[RenderableType]:
    drawn = arm_gradients(frame, width)
    return [] if drawn is None else [Text(), drawn, Text()]


def next_lines(plan: Plan) -> list[Text]:
    """Where the files lie, and the commands that show more of them; to be printed however long, so
    that they can be copied."""
    folders = _folders(plan)
    place = shlex.join(folders if len(folders) <= MOST_NAMED else [str(Path(folders[0]).parent)])
    normlab = shlex.join(command())
    return [
        Text(f"files  {', '.join(folders)}", "dim"),
        Text(f"next   {normlab} plot gradients {place}"),
        Text(f"       {normlab} report {place}"),
    ]


def interrupted_report(plan: Plan, arms: ArmsSoFar, width: int) -> Group:
    """What there is of a sweep that was stopped: what was found so far, and how many runs.

    Nothing is concluded from a part.
    """
    frame = _runs_of(plan)
    total = len(plan.configs)
    missing = total - frame["run_id"].nunique()
    not_begun = f"; {missing} of {total} not begun" if missing else ""
    table = arms.drawn((), width, None)
    return Group(
        *([table, Text()] if table is not None else []),
        Text(f"{counts_line(counts(frame))}{not_begun}"),
        Text("No conclusions are drawn from a part; the same command makes the rest.", style="dim"),
        Text(f"files  {', '.join(_folders(plan))}", style="dim"),
    )


def _folders(plan: Plan) -> list[str]:
    return list(dict.fromkeys(str(run_folder(config).parent) for config in plan.configs))


def _runs_of(plan: Plan) -> "DataFrame":
    """A plan's runs, as far as they have begun."""
    runs = [run_folder(config) for config in plan.configs]
    folders = [folder for folder in dict.fromkeys(run.parent for run in runs) if folder.is_dir()]
    frame, _ = read_results(folders)
    return frame[frame["run_id"].isin({run.name for run in runs})]


def _table(frame: "DataFrame") -> Group:
    rows, cols = layout(frame)
    summary = summarize(frame, rows, cols, SWEEP_METRICS)
    notes = [counts_line(counts(frame)), *origin_notes(frame, [*rows, *cols])]
    return comparison_table(Comparison(summary, rows, cols, notes))
