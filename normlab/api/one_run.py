"""One run: its tables, its diagnosis and its pictures."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Each of these loads what it needs when it is first asked for it.
from normlab import analysis, show
from normlab import runs as run_files
from normlab.api.arguments import named_as_arguments
from normlab.api.places import RESULTS, Place
from normlab.api.shown import Shown

if TYPE_CHECKING:
    from altair import Chart
    from pandas import DataFrame
    from rich.console import RenderableType

    from normlab.config import Config
    from normlab.runs import Evidence, Summary


@dataclass(frozen=True)
class Diagnosis(Shown):
    """What became of a network, why, and what is worth trying."""

    status: str  # finished, diverged, failed, …
    verdict: str | None  # trains, vanishing, …; None of a run that did not come to its end
    cause: str | None  # the rule that explains it, such as vanishing_at_init; `none` of a sound run
    evidence: "tuple[Evidence, ...]"  # the figures that decided the cause, with their thresholds
    advice: tuple[str, ...]  # settings worth trying, the best first
    reason: str  # what happened, in a sentence or two

    def __str__(self) -> str:
        shown = self.verdict or self.status
        return f"{shown}. {self.reason}" if self.reason else shown

    def __repr__(self) -> str:
        return f"<Diagnosis {self.verdict or self.status}, cause {self.cause}>"

    def _drawn(self, width: int) -> "RenderableType":  # noqa: ARG002  # as wide as its words
        table = show.facts_table()
        for name, text in show.diagnosis_facts(self):
            table.add_row(name, text)
        return table


class Run(Shown):
    """One run. Its files are read when they are first asked for.

    They raise RecordError where they are missing, damaged or of a run without an end.
    """

    def __init__(self, folder: Place, files: "run_files.Run | run_files.WatchedRun | None" = None):
        self.folder = Path(folder)
        if files is not None:
            self.files = files

    @functools.cached_property
    def files(self) -> "run_files.Run | run_files.WatchedRun":
        """What the run's files say."""
        return run_files.read_any_run(self.folder)

    @property
    def id(self) -> str:
        """The run's id, which is its folder's name."""
        return self.folder.name

    @property
    def config(self) -> "Config":
        """The whole configuration; RecordError for a training that was only watched."""
        return run_files.made_run(self.files).config

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, device, command and start."""
        return self.files.environment

    @property
    def summary(self) -> "Summary":
        """The final figures, by the names that they have in summary.json."""
        return self.files.summary

    @property
    def metrics(self) -> "DataFrame":
        """A row an evaluation: step, epoch, losses, accuracies, learning rate, seconds."""
        return self.files.metrics

    @property
    def layers(self) -> "DataFrame":
        """A row a step and layer, a column a probe."""
        return self.files.layers

    @property
    def diagnosis(self) -> Diagnosis:
        """What became of the network, why, and what is worth trying."""
        s = self.summary
        return Diagnosis(s.status, s.verdict, s.cause, s.evidence, s.advice, s.reason)

    @named_as_arguments
    def plot(
        self,
        picture: str = "gradients",
        *,
        probe: str | None = None,
        metric: str | None = None,
        title: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> "Chart":
        """The picture that `normlab plot` draws of this run, as an Altair chart.

        Some pictures take a probe or a metric. `size` is the width and height of the whole in
        pixels. Raises ConfigError where there is nothing to draw.
        """
        frame, _ = analysis.read_results([self.folder])
        options = show.PictureOptions(probe, metric, title=title, size=size)
        return show.chart(picture, frame, options)

    def __repr__(self) -> str:
        summary = run_files.read_summary(self.folder)
        if summary is None:
            return f"<Run {self.id}: unfinished>"
        return f"<Run {self.id}: {summary.name}, {summary.verdict or summary.status}>"

    def _drawn(self, width: int) -> "RenderableType":
        return show.run_card(self.files, width)


def read_run(name: str | None = None, root: Place = RESULTS) -> Run:
    """A run by its folder or the start of its id; without, the latest below `root`.

    Raises RecordError where there is none or more than one, or its files are damaged.
    """
    found = Run(run_files.find_run(name, Path(root)))
    _ = found.files  # what is damaged is told now
    return found
