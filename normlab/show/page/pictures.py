"""The page's pictures: of few variants, depths and seeds, and notes about what is left out."""

from typing import Any, NamedTuple

from pandas import DataFrame

from normlab.analysis import DEPTH, series
from normlab.errors import ConfigError
from normlab.show.charts.panels import few_depths
from normlab.show.charts.saving import specification
from normlab.show.charts.variants import most_variants
from normlab.show.pictures.drawing import PICTURES, Subject

# Reading a run's table takes milliseconds; a band over more seeds than this looks no different.
MOST_SEEDS = 30


class PagePicture(NamedTuple):
    """A picture on the page; its title stands in the page's own text."""

    name: str
    heading: str
    caption: str
    spec: dict[str, Any]  # Vega-Lite's
    snapshots: list[str]  # the names of a slider's places; without a slider none


def page_pictures(
    runs: DataFrame, progress: series.Progress | None = None
) -> tuple[list[PagePicture], list[str]]:
    """The pictures of runs, each of which has its variant, and notes about what is not drawn."""
    shown, left_out = _most_frequent_variants(runs)
    notes = [f"{left_out} more variants are in the table only."] if left_out else []
    depths, have = few_depths(shown[DEPTH]), shown[DEPTH].nunique()
    if have > len(depths):
        kept = ", ".join(map(str, depths))
        notes.append(f"By layer and by epoch only depths {kept} are drawn, of {have}.")
    few = few_runs(runs)
    pictures = []
    parts = [(part.on_page, part.figure) for _, part in PICTURES.items() if part.on_page]
    for part, figure in sorted(parts, key=lambda pair: pair[0].place):
        if not part.applies(shown):
            continue
        subject = Subject(few if part.reads_tables else shown, figure, shown, progress)
        try:
            chart = part.chart(subject)
        except ConfigError as error:
            notes.append(f"No picture of the {part.name}: {error}.")
        else:
            pictures.append(_on_page(part.name, specification(chart)))
    return pictures, notes


def _on_page(name: str, spec: dict[str, Any]) -> PagePicture:
    title, about = spec.pop("title"), spec.pop("usermeta", {})
    return PagePicture(
        name, title["text"], "; ".join(title["subtitle"]), spec, about.get("snapshots", [])
    )


def _most_frequent_variants(runs: DataFrame) -> tuple[DataFrame, int]:
    """The runs of the variants with the most runs, and how many variants are left out."""
    numbers = runs["variant"].value_counts()
    kept = set(numbers.index[: most_variants(runs)])
    return runs[runs["variant"].isin(kept)], len(numbers) - len(kept)


def few_runs(runs: DataFrame) -> DataFrame:
    """The runs whose tables a page reads: few seeds of few depths of the most frequent variants."""
    shown, _ = _most_frequent_variants(runs)
    shown = shown[shown[DEPTH].isin(few_depths(shown[DEPTH]))]
    few: DataFrame = shown[shown.groupby(["variant", DEPTH]).cumcount() < MOST_SEEDS]
    return few
