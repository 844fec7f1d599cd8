"""What a kind of export is, the registry of all of them, and how runs are exported.

Neither this module nor one with a kind imports pandas, or the library that it writes for, but
within functions: the command line asks the registry for its choices as it starts.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from normlab.errors import ConfigError
from normlab.registry import Registry

if TYPE_CHECKING:
    from pandas import DataFrame

# What a row of a table is.
RowKind = Literal["runs", "steps", "layers"]


@dataclass(frozen=True)
class Selection:
    """The runs to export, and where to."""

    runs: "DataFrame"
    place: str  # a file or folder; for some kinds a URI
    rows: RowKind = "runs"
    on_problem: Callable[[str], object] = field(default=lambda _: None)  # hears of runs left out


class Exported(NamedTuple):
    """How much was written."""

    runs: int
    rows: int  # rows of a table, lines, or values
    place: str
    kept: int = 0  # runs that were there already


@dataclass(frozen=True)
class ExportKind:
    """How runs are written for another program."""

    write: Callable[[Selection], Exported]
    place: Callable[[RowKind], str]  # where they go if nowhere is named
    unit: str  # what `Exported.rows` counts
    library: str | None = None  # the package that must be installed
    tables: bool = False  # whether one chooses what a row is
    look: Callable[[str], str] | None = None  # the command that shows what was written


EXPORTS: Registry[ExportKind] = Registry(
    "export",
    *("normlab.analysis.exports.tables", "normlab.analysis.exports.lines"),
    *("normlab.analysis.exports.tensorboard", "normlab.analysis.exports.mlflow"),
    "normlab.analysis.exports.wandb",
)


def check_export(name: str, rows: RowKind = "runs") -> ExportKind:
    """The kind of a name; raises ConfigError where its library is not installed, or where it has
    no rows to choose."""
    kind = EXPORTS[name]
    if rows != "runs" and not kind.tables:
        tables = " and ".join(other for other, part in EXPORTS.items() if part.tables)
        raise ConfigError(
            f"--{rows}: of {tables}; export {name} has what was measured at every step and layer"
        )
    if kind.library is not None and importlib.util.find_spec(kind.library) is None:
        raise ConfigError(
            f"export {name}: needs the package {kind.library}; pip install {kind.library}"
        )
    return kind


def export(
    runs: "DataFrame",
    name: str,
    place: str | None = None,
    rows: RowKind = "runs",
    on_problem: Callable[[str], object] = lambda _: None,
) -> Exported:
    """Write runs in a kind of export; without a place, in the current folder under its usual name.

    `on_problem` hears of each run whose files cannot be read, which is left out. Raises as
    `check_export` does, ConfigError where no run is left, RecordError where it cannot be written.
    """
    kind = check_export(name, rows)
    return kind.write(Selection(runs, place or kind.place(rows), rows, on_problem))
