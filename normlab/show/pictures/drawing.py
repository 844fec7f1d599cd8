"""What a picture is, the registry of all of them, and how one is drawn or sketched.

Neither this module nor one with a picture imports pandas or Altair but within functions: the
command line asks the registry for its choices as it starts.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from normlab.errors import ConfigError
from normlab.registry import Registry
from normlab.text import did_you_mean

if TYPE_CHECKING:
    from altair import Chart
    from pandas import DataFrame
    from rich.console import Group

    from normlab.analysis import series


class PictureOptions(NamedTuple):
    """What a picture shows, where it lets one choose; None is the picture's own choice."""

    probe: str | None = None
    metric: str | None = None
    x: str | None = None  # a key
    keys: tuple[str, ...] = ()
    title: str | None = None
    size: tuple[int, int] | None = None  # of a file: width and height, in pixels


class Screen(NamedTuple):
    """A terminal's columns and rows."""

    width: int
    height: int


@dataclass(frozen=True)
class Choice:
    """The figure that a picture shows, as one of the picture options chooses it."""

    option: Literal["probe", "metric"]
    default: str
    choices: Callable[[], Sequence[str]]
    refusal: str  # of a name that is not among them

    def chosen(self, options: PictureOptions) -> str:
        """The name that the options have; raises ConfigError where it is no choice."""
        name: str = getattr(options, self.option) or self.default
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


def _metrics() -> list[str]:
    from normlab.vocabulary import METRICS

    return [metric.name for metric in sorted(METRICS.values(), key=lambda metric: not metric.share)]


def _curves() -> list[str]:
    from normlab.vocabulary import METRICS

    return [name for name in _metrics() if METRICS[name].by_epoch]


PROBE = Choice("probe", "delta_rms", _probes, "no such probe")
CURVE = Choice("metric", "train_acc", _curves, "has no curve")
FINAL_METRIC = Choice("metric", "train_error", _metrics, "no such metric")


@dataclass(frozen=True)
class Subject:
    """What one picture is of: runs, each with its variant, and a probe or metric of them."""

    runs: "DataFrame"  # of series.with_variants
    figure: str = ""  # a probe or metric, where the picture takes one
    others: "DataFrame | None" = None  # all runs that share the colours, where these are only some
    progress: "series.Progress | None" = None
    keys: tuple[str, ...] = ()  # on the axes, where the picture lets one choose
    title: str | None = None  # instead of the picture's own

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
    reads_tables: bool = True  # of each run, so that few depths and seeds have to do
    applies: Callable[["DataFrame"], bool] = lambda _: True  # to such runs


@dataclass(frozen=True)
class Picture:
    """A picture: which rows it is made of, its chart, and its sketch of characters."""

    about: str  # a few words for help, with the picture's own name as {name}
    rows: "Callable[[Subject], DataFrame]"
    chart: "Callable[[DataFrame, Subject], Any]"
    sketch: "Callable[[DataFrame, Subject, Screen], Group]"
    takes: Choice | None = None
    x: str | None = None  # the key on its x axis, where one may choose another
    keys: int = 0  # how many keys one has to name before the runs
    of_one_run: bool = False  # the latest where none is named
    on_page: OnPage | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the options that it takes."""
        figure = [self.takes.option] if self.takes else []
        return (*figure, *(["x"] if self.x else []), *(["keys"] if self.keys else []))

    @property
    def figure(self) -> str:
        """The figure that it shows unless another is chosen."""
        return self.takes.default if self.takes else ""

    @property
    def figures(self) -> Sequence[str]:
        """All figures that it can show."""
        return self.takes.choices() if self.takes else ()


PICTURES: Registry[Picture] = Registry(
    "picture",
    *(
        f"normlab.show.pictures.{name}"
        for name in ("gradients", "heatmap", "curves", "depth", "phase", "theory")
    ),
)


def find_folders(names: Sequence[str], root: Path) -> list[Path]:
    """The folders that a person means by paths or by starts of run ids; raises RecordError."""
    from normlab.runs import find_run

    return [Path(name) if Path(name).is_dir() else find_run(name, root) for name in names]


def split_keys(picture: str, words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The keys of a picture that has some, and the names of runs behind them.

    Raises ConfigError where there are too few.
    """
    count = PICTURES[picture].keys
    keys, names = tuple(words[:count]), list(words[count:])
    if len(keys) < count or any(Path(key).is_dir() for key in keys):
        raise ConfigError(
            f"plot {picture}: name {count} keys before the runs, as in normlab plot {picture} "
            "model.depth optimizer.lr results/mine"
        )
    return keys, names


def read_size(text: str) -> tuple[int, int]:
    """A width and height, in pixels, from text such as 800x500; raises ConfigError."""
    found = re.fullmatch(r"(\d{2,4})[x×](\d{2,4})", text.strip())
    if found is None:
        raise ConfigError(f"--size {text}: give width and height in pixels, as 800x500")
    return int(found[1]), int(found[2])


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
    save(_chart(picture, frame, options, progress), output, options.size)


def chart(picture: str, frame: "DataFrame", options: PictureOptions) -> "Chart":
    """The picture that `draw` writes, as an Altair chart; raises ConfigError where there is nothing
    to draw."""
    from normlab.show.charts.saving import whole_chart

    whole: Chart = whole_chart(_chart(picture, frame, options, None), options.size)
    return whole


def _chart(
    picture: str,
    frame: "DataFrame",
    options: PictureOptions,
    progress: "series.Progress | None",
) -> Any:
    part = PICTURES[picture]
    subject = _subject(picture, frame, options, progress)
    return part.chart(part.rows(subject), subject)


def sketch(
    picture: str,
    frame: "DataFrame",
    options: PictureOptions,
    screen: Screen,
    progress: "series.Progress | None" = None,
) -> "Group":
    """The same as characters for a terminal."""
    if options.size:
        raise ConfigError("--size: is of a file; name one, as in -o picture.png")
    part = PICTURES[picture]
    subject = _subject(picture, frame, options, progress)
    return part.sketch(part.rows(subject), subject, screen)


def _subject(
    picture: str,
    frame: "DataFrame",
    options: PictureOptions,
    progress: "series.Progress | None",
) -> Subject:
    from normlab.analysis import known_key, series

    part = PICTURES[picture]
    for option in ("probe", "metric", "x"):
        if getattr(options, option) and option not in part.options:
            takers = [f"plot {name}" for name, other in PICTURES.items() if option in other.options]
            raise ConfigError(
                f"--{option} {getattr(options, option)}: plot {picture} takes none; "
                f"{' and '.join(takers)} {'does' if len(takers) == 1 else 'do'}"
            )
    figure = part.takes.chosen(options) if part.takes else ""
    asked = options.keys or tuple(key for key in (options.x or part.x,) if key)
    # A frame without a run is refused by what looks for variants.
    keys = tuple(known_key(frame, key) for key in asked) if len(frame) else ()
    runs = series.with_variants(frame, keys)
    return Subject(runs, figure, progress=progress, keys=keys, title=options.title)
