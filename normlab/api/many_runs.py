"""Many runs: as frames, compared, drawn, in words, and one by one."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

# Each of these loads what it needs when it is first asked for it.
from normlab import analysis, show
from normlab import runs as run_files
from normlab.api.arguments import named_as_arguments, names_in, takes_folders, takes_texts
from normlab.api.comparison import Comparison
from normlab.api.one_run import Run
from normlab.api.places import RESULTS, Place, ignore
from normlab.api.shown import Shown
from normlab.errors import ConfigError, RecordError
from normlab.text import plural, some_of

if TYPE_CHECKING:
    from altair import Chart
    from pandas import DataFrame
    from rich.console import RenderableType

    from normlab.runs import Plan
    from normlab.vocabulary import Spread

# So many runs stand one by one where all of them are shown.
MOST_LISTED = 10


@dataclass(frozen=True, eq=False, repr=False)
class Results(Shown):
    """Many runs. Indexing by place or by the start of an id, and iterating, give each as a Run."""

    frame: "DataFrame"  # a row a run: every setting and final figure
    folders: Sequence[Path] = (RESULTS,)  # where they were found
    expressions: Sequence[str] = ()  # what chose them of all that lie there
    problems: Sequence[str] = ()  # a line for each folder that is no sound run

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[Run]:
        return map(Run, self.frame["folder"])

    @overload
    def __getitem__(self, place: int | str) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> "Results": ...
    def __getitem__(self, place: int | str | slice) -> "Run | Results":
        if isinstance(place, slice):
            return replace(self, frame=self.frame.iloc[place])
        if isinstance(place, str):
            return Run(self._named(place))
        return Run(list(self.frame["folder"])[place])

    def _named(self, start: str) -> Path:
        found = self.frame[self.frame["run_id"].str.startswith(start)].drop_duplicates("run_id")
        if len(found) != 1:
            ids = some_of(list(found["run_id"]), 4)
            several = f"{len(found)} runs begin so: {ids}" if len(found) else "no such run here"
            raise RecordError(f"{start}: {several}")
        return Path(found["folder"].iloc[0])

    @takes_texts
    @named_as_arguments
    def where(self, *expressions: str) -> "Results":
        """The runs that fulfil every expression, such as `norm=bn,ln` and `model.depth>=20`.

        Raises ConfigError where no run has what is asked for.
        """
        chosen = analysis.where(self.frame, expressions)
        return replace(self, frame=chosen, expressions=(*self.expressions, *expressions))

    @property
    def failed(self) -> "Results":
        """The runs that failed, each with the reason at `frame["reason"]`."""
        return self.where("status=failed")

    def metrics(self) -> "DataFrame":
        """A row an evaluation of a run, behind its id, the settings that vary, and its seed."""
        return self._long_table("metrics")

    def layers(self) -> "DataFrame":
        """A row a step and layer of a run, behind its id, the settings that vary, and its seed."""
        return self._long_table("layers")

    def _long_table(self, name: Literal["metrics", "layers"]) -> "DataFrame":
        problems: list[str] = []
        table = analysis.long_table(self.frame, name, problems.append)
        if problems:
            runs = plural(len(problems), "run")
            warnings.warn(f"{runs} left out: {some_of(problems, 1)}", stacklevel=3)
        return table

    @named_as_arguments
    def compare(
        self,
        rows: str | Sequence[str] | None = None,
        cols: str | Sequence[str] | None = None,
        metric: str | Sequence[str] | None = None,
        *,
        best: str | Sequence[str] = (),
        by: str | None = None,
        sort: str | None = None,
        spread: "Spread" = "interval",
    ) -> Comparison:
        """Mean and 95 % confidence interval over seeds, a row a cell of `rows` × `cols` and metric.

        Keys and metrics are names, one by one or with commas between them; without keys whatever
        varies; without metrics train_acc, or gradient ratios where no run has it. Of the `best`
        keys, such as `optimizer.lr`, each cell has the value with the best mean of `by` only, by
        default of test_acc. Raises ConfigError where there is no run, or no such key or metric.
        """
        options = show.ComparisonOptions(
            *(names_in(rows), names_in(cols), names_in(metric) or ()),
            sort=sort,
            best=names_in(best) or (),
            by=by,
            spread=spread,
        )
        return self._compared(options)

    @named_as_arguments
    def paired(
        self,
        baseline: str,
        rows: str | Sequence[str] | None = None,
        cols: str | Sequence[str] | None = None,
        metric: str | Sequence[str] | None = None,
        *,
        sort: str | None = None,
    ) -> Comparison:
        """Mean differences from a baseline such as `norm=none`, over pairs of equal seeds.

        Of gradient ratios and factors the geometric mean ratio. Raises ConfigError where no run is
        of the baseline, or every one.
        """
        options = show.ComparisonOptions(
            *(names_in(rows), names_in(cols), names_in(metric) or ()),
            sort=sort,
            baseline=baseline,
        )
        return self._compared(options)

    def _compared(self, options: "show.ComparisonOptions") -> Comparison:
        if self.frame.empty:
            raise ConfigError("there is no run to compare")
        show.check_options(options, "rich")
        return Comparison(show.compare(self.frame, options))

    def findings(self) -> list[str]:
        """Where gradients vanished or exploded, and where depth alone did harm, a sentence each."""
        return analysis.findings(self.frame)

    @named_as_arguments
    def plot(
        self,
        picture: str = "gradients",
        *keys: str,
        probe: str | None = None,
        metric: str | None = None,
        x: str | None = None,
        title: str | None = None,
        size: tuple[int, int] | None = None,
    ) -> "Chart":
        """The picture that `normlab plot` draws of these runs, as an Altair chart.

        Some pictures take a probe, a metric or the key of their x axis; `phase` takes two keys.
        `size` is the width and height of the whole in pixels. Raises ConfigError where there is
        nothing to draw.
        """
        found, more = show.split_keys(picture, keys)
        if more:
            raise ConfigError(f"plot {picture}: takes no key {', '.join(more)}")
        options = show.PictureOptions(probe, metric, x, found, title, size)
        return show.chart(picture, self.frame, options)

    def report(
        self,
        output: Place = "report.html",
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Path:
        """Write a page of findings, table and interactive pictures.

        `on_progress` hears how many of how many runs are read. Raises ConfigError where no run has
        finished.
        """
        verdicts = show.verdicts_of(self.frame, self.folders)
        selection = show.Selection(self.frame, self.folders, self.expressions)
        show.write_report(selection, Path(output), verdicts, on_progress)
        return Path(output)

    @named_as_arguments
    def export(
        self,
        kind: str = "csv",
        output: Place | None = None,
        rows: "analysis.RowKind" = "runs",
        on_problem: Callable[[str], object] = ignore,
    ) -> "analysis.Exported":
        """Write the runs for another program: csv, parquet, jsonl, tensorboard, mlflow or wandb.

        Without `output` they go into the current folder. A row of csv and parquet is a run, with
        `rows` "steps" an evaluation, with "layers" a layer at a step. `on_problem` hears of each
        run whose files cannot be read. Raises ConfigError for another kind, or where its library is
        not installed.
        """
        place = None if output is None else str(output)
        return analysis.export(self.frame, kind, place, rows, on_problem)

    def __repr__(self) -> str:
        return f"<Results: {show.counts_line(analysis.counts(self.frame))}>"

    def _drawn(self, width: int) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        # In the order that they are indexed in, not as `normlab ls` has them, the newest first.
        listed = analysis.listed(self.frame).loc[self.frame.index[:MOST_LISTED]]
        left = len(self.frame) - len(listed)
        runs = show.runs_table(show.RunList(listed, left, width, ".frame has all"))
        left_out = plural(len(self.problems), "folder")
        lines = [show.counts_line(analysis.counts(self.frame))]
        if self.problems:
            lines.append(f"{left_out} left out as no sound run; .problems names them")
        return Group(runs, *map(Text, lines))


@takes_folders
@named_as_arguments
def results(*folders: Place, where: str | Sequence[str] = ()) -> Results:
    """Every run at or below folders, by default results/, that fulfils the `where` expressions.

    An expression is such as `norm=bn` or `model.depth>=20`. Raises RecordError where there is no
    such folder, ConfigError where no run has what is asked for.
    """
    return results_in(folders, (where,) if isinstance(where, str) else tuple(where))


def results_in(folders: Sequence[Place], expressions: Sequence[str] = ()) -> Results:
    """The same for a command, whose errors name options as they are typed."""
    places = [Path(folder) for folder in folders] or [RESULTS]
    frame, problems = analysis.read_selected(places, expressions)
    return Results(frame, places, expressions, problems)


def results_of(planned: "Plan") -> Results:
    """The runs of a plan, as far as they have begun."""
    runs = [run_files.run_folder(config) for config in planned.configs]
    frame, problems = analysis.read_results([folder for folder in runs if folder.is_dir()])
    return Results(frame, list(dict.fromkeys(run.parent for run in runs)), (), problems)
