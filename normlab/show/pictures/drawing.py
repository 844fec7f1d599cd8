"""What a picture is, the registry of all of them, and how one is drawn or sketched.

Neither this module nor one with a picture imports pandas or Altair but within functions: the
command line asks the registry for its choices as it starts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from normlab.errors import ConfigError
from normlab.registry import Registry
from normlab.text import did_you_mean

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Group

    from normlab.results import series


class PictureOptions(NamedTuple):
    """What a picture shows, where it lets one choose."""

    probe: str = "delta_rms"
    metric: str = "train_acc"


@dataclass(frozen=True)
class Choice:
    """The one of the picture options that a picture takes."""

    option: Literal["probe", "metric"]
    choices: Callable[[], Sequence[str]]
    refusal: str  # of a name that is not among them

    def chosen(self, options: PictureOptions) -> str:
        """The name that the options have; raises ConfigError where it is no choice."""
        name: str = getattr(options, self.option)
        choices = self.choices()
        if name not in choices:
            raise ConfigError(
                f"--{self.option} {name}: {self.refusal}; choices: {', '.join(choices)}"
                f"{did_you_mean(name, choices)}"
            )
        return name


def _probes() -> list[str]:
    from normlab.config import PROBES

    return list(PROBES)


def _curves() -> list[str]:
    from normlab.vocabulary import METRICS

    found = [metric for metric in METRICS.values() if metric.by_epoch]
    return [metric.name for metric in sorted(found, key=lambda metric: not metric.share)]


PROBE = Choice("probe", _probes, "no such probe")
CURVE = Choice("metric", _curves, "has no curve")


@dataclass(frozen=True)
class Subject:
    """What one picture is of: runs, each with its variant, and a probe or metric of them."""

    runs: "DataFrame"  # of series.with_variants
    figure: str = ""  # a probe or metric, where the picture takes one
    others: "DataFrame | None" = None  # all runs that share the colours, where these are only some
    progress: "series.Progress | None" = None

    @property
    def sharing(self) -> "DataFrame":
        """The runs whose variants share the colours."""
        return self.runs if self.others is None else self.others


@dataclass(frozen=True)
class OnPage:
    """How a report's page shows a picture."""

    name: str  # error, gradient, …: of its element, and in a note where it cannot be drawn
    place: int  # from the top
    chart: Callable[[Subject], Any]
    figure: str = ""
    reads_tables: bool = True  # of each run, so that few depths and seeds have to do
    applies: Callable[["DataFrame"], bool] = lambda _: True  # to such runs


@dataclass(frozen=True)
class Picture:
    """A picture: which rows it is made of, its chart, and its sketch of characters."""

    about: str  # a few words for help, with the picture's own name as {name}
    rows: "Callable[[Subject], DataFrame]"
    chart: "Callable[[DataFrame, Subject], Any]"
    sketch: "Callable[[DataFrame, Subject, int], Group]"  # of such a width
    takes: Choice | None = None
    of_one_run: bool = False  # the latest where none is named
    on_page: OnPage | None = None


PICTURES: Registry[Picture] = Registry(
    "picture",
    *(
        f"normlab.show.pictures.{name}"
        for name in ("gradients", "heatmap", "curves", "depth", "theory")
    ),
)


def find_folders(names: Sequence[str], root: Path) -> list[Path]:
    """The folders that a person means by paths or by starts of run ids; raises RecordError."""
    from normlab.runs import find_run

    return [Path(name) if Path(name).is_dir() else find_run(name, root) for name in names]


def draw(
    picture: str,
    frame: "DataFrame",
    options: PictureOptions,
    output: Path,
    progress: "series.Progress | None" = None,
) -> None:
    """Draw a picture into a file; raises ConfigError where there is nothing to draw, or no form."""
    from normlab.show.charts.saving import check_format, save

    check_format(output)
    part = PICTURES[picture]
    subject = _subject(part, frame, options, progress)
    save(part.chart(part.rows(subject), subject), output)


def sketch(
    picture: str,
    frame: "DataFrame",
    options: PictureOptions,
    width: int,
    progress: "series.Progress | None" = None,
) -> "Group":
    """The same as characters for a terminal."""
    part = PICTURES[picture]
    subject = _subject(part, frame, options, progress)
    return part.sketch(part.rows(subject), subject, width)


def _subject(
    picture: Picture,
    frame: "DataFrame",
    options: PictureOptions,
    progress: "series.Progress | None",
) -> Subject:
    from normlab.results import series

    figure = picture.takes.chosen(options) if picture.takes else ""
    return Subject(series.with_variants(frame), figure, progress=progress)
