"""What a watch has measured, on its way into layers.parquet and metrics.parquet."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from normlab.runs import Summary, WatchedFolder, made_with
from normlab.training import METRIC_COLUMNS
from normlab.watching.judging import Seen, summary_of
from normlab.watching.rows import Values, columns_of, rows_of
from normlab.watching.weights import WatchedWeight

if TYPE_CHECKING:
    from pandas import DataFrame


class Record:
    """The rows of a watched training.

    A step at which more is measured than the gradients' norms is kept until all of it is there, so
    that it has one row for each weight. Raises RecordError where the folder cannot be written.
    """

    def __init__(
        self,
        weights: Sequence[WatchedWeight],
        probes: Sequence[str],
        folder: Path | None,
        settings: Mapping[str, Any],
        *,
        overwrite: bool,
    ):
        self.weights = weights
        self.probes = probes
        self.layers = list(range(1, len(weights) + 1))  # their numbers, from the input
        self.losses: list[tuple[int, float, float]] = []  # step, probe loss in train and eval mode
        self.logged: dict[str, float] = {}  # a person's own figures, the last of each
        self.broken_step: int | None = None  # the first whose gradient was not finite
        self._kept: dict[int, dict[str, Values]] = {}
        self._row: dict[str, float] = {}  # of metrics, at the last step
        self._written: set[int] = set()  # places of weights that have a row
        self._began = time.perf_counter()
        self.folder = WatchedFolder(
            folder,
            settings,
            {"layers": columns_of(probes), "metrics": METRIC_COLUMNS},
            device=str(weights[0].parameter.device),
            overwrite=overwrite,
        )

    @property
    def _folder_name(self) -> list[str]:
        """By which a person knows it among others of one network; nothing without a folder."""
        return [self.folder.folder.name] if self.folder.folder else []

    @property
    def seconds(self) -> float:
        """The time since it began."""
        return time.perf_counter() - self._began

    def number_layers(self, turns: Sequence[int | None]) -> None:
        """Number the layers as they run; one that does not run stays behind the one that is defined
        before it."""
        keys: list[tuple[int, int]] = []
        last = -1
        for place, turn in enumerate(turns):
            last = last if turn is None else turn
            keys.append((last, place))
        for number, (_, place) in enumerate(sorted(keys), start=1):
            self.layers[place] = number

    def keep(self, step: int, probe: str, places: Sequence[int], values: Sequence[float]) -> None:
        """Keep a probe's values of the weights at some places."""
        kept = self._kept.setdefault(step, {})
        kept.setdefault(probe, np.full(len(self.weights), np.nan))[list(places)] = values

    def add_norms(
        self, places: Sequence[int], steps: Sequence[int], norms: Sequence[Sequence[float]]
    ) -> None:
        """Write ‖∂L/∂W‖ of the weights at some places, [steps, places]; or keep it for a step of
        which more is kept."""
        values = np.array(norms, dtype=np.float64).reshape(len(steps), len(places))
        alone = [row for row, step in enumerate(steps) if step not in self._kept]
        for row, step in enumerate(steps):
            if step in self._kept:
                self.keep(step, "grad_norm", places, values[row].tolist())
        if alone:
            self._write(places, [steps[row] for row in alone], {"grad_norm": values[alone]})

    def keeps(self, step: int) -> bool:
        """Whether more than the gradients' norms is kept of a step."""
        return step in self._kept

    def write_kept(self, before: int) -> None:
        """Write the kept steps before one."""
        for step in sorted(step for step in self._kept if step < before):
            self._write(range(len(self.weights)), [step], _of_one_step(self._kept.pop(step)))

    def write_all(self, step: int) -> None:
        """Write all that is kept; a weight of which there is nothing gets an empty row."""
        self.write_kept(step + 1)
        without = [place for place in range(len(self.weights)) if place not in self._written]
        if without:
            self._write(without, [step], {})

    def add_metrics(self, step: int, rate: float, figures: Mapping[str, float]) -> None:
        """Keep figures of a step in its row of metrics.parquet."""
        if self._row.get("step") != step:
            self._write_row()
            self._row = dict.fromkeys(METRIC_COLUMNS, math.nan)
        self._row |= {"lr": rate, "seconds": self.seconds, **figures, "step": step}

    def _write_row(self) -> None:
        if self._row:
            self.folder.add_metrics(self._row)
            self._row = {}

    def metrics(self) -> "DataFrame":
        """metrics.parquet as far as it is, with the row that may still get figures."""
        import pandas

        written = self.folder.frame("metrics")
        if not self._row:
            return written
        last = pandas.DataFrame([self._row], columns=list(written))
        return last if written.empty else pandas.concat([written, last], ignore_index=True)

    def frame(self) -> "DataFrame":
        """layers.parquet as far as it is, with what is kept."""
        import pandas
        import pyarrow

        written = self.folder.frame("layers")
        batches = [
            self._batch(range(len(self.weights)), [step], _of_one_step(kept))
            for step, kept in sorted(self._kept.items())
        ]
        kept: list[DataFrame] = [pyarrow.Table.from_batches(batches).to_pandas()] if batches else []
        every = [table for table in (written, *kept) if len(table)] or [written]
        found = pandas.concat(every)
        return found.sort_values(["step", "layer"], kind="stable", ignore_index=True)

    def finish(self, seen: Seen) -> None:
        """Write all that is kept and the summary, and let the folder go."""
        self.write_all(seen.step)
        self._write_row()
        self.folder.finish(seen.settings, self.summary(self.frame(), seen))

    def summary(self, layers: "DataFrame", seen: Seen) -> Summary:
        """What summary.json says, or would say were this the end, of the rows of `frame`."""
        return summary_of(
            layers,
            seen,
            known={
                "run_id": self.folder.run_id,
                "name": " ".join([str(seen.settings["model"]["name"]), *self._folder_name]),
                "seconds": self.seconds,
                "layers": len(self.weights),
                **made_with(self.folder.environment),
            },
        )

    def _write(
        self, places: Sequence[int], steps: Sequence[int], columns: Mapping[str, Values]
    ) -> None:
        self._written.update(places)
        self.folder.add_layers(self._batch(places, steps, columns))

    def _batch(
        self, places: Sequence[int], steps: Sequence[int], columns: Mapping[str, Values]
    ) -> Any:
        weights = [self.weights[place] for place in places]
        layers = [self.layers[place] for place in places]
        return rows_of(weights, layers, steps, columns, self.probes)


def _of_one_step(columns: Mapping[str, Values]) -> dict[str, Values]:
    return {name: values[None] for name, values in columns.items()}
