"""The page of a results folder: findings, table, pictures, verdicts, commands.

Everything that comes from a config or a folder's name is escaped; the page asks for nothing from
any network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pandas import DataFrame

from normlab.analysis import counts, findings, series
from normlab.errors import ConfigError
from normlab.runs import write_whole
from normlab.show.page.claims import ClaimVerdict
from normlab.show.page.links import RunLink, run_links
from normlab.show.page.pictures import PagePicture, few_runs, page_pictures
from normlab.show.page.repetition import Repetition, experiment_file, repetition
from normlab.show.page.rows import HEADS, VariantRow, variant_rows
from normlab.show.page.theory_panel import TheoryPanel, theory_panel
from normlab.show.templates import packaged_file, render, script_json, vega_script
from normlab.show.terminal.run_lists import counts_line
from normlab.vocabulary import CAUSES, DIAGNOSES, Cause, Diagnosis


class Selection(NamedTuple):
    """The runs that a page is about, the folders they were found in, and what chose them."""

    frame: DataFrame
    folders: Sequence[Path]
    where: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """What a page says, as its template reads it."""

    title: str
    questions: Sequence[str]
    findings: Sequence[str]
    rows: Sequence[VariantRow]
    counts: str
    pictures: Sequence[PagePicture]
    theory: TheoryPanel | None
    notes: Sequence[str]
    claims: Sequence[ClaimVerdict]
    links: Sequence[RunLink]
    repetition: Repetition
    heads: Sequence[str] = HEADS
    diagnoses: Sequence[Diagnosis] = tuple(DIAGNOSES.values())
    causes: Sequence[Cause] = tuple(CAUSES.values())


def check_page(file: Path) -> None:
    """Raise ConfigError where a report cannot be written to such a file."""
    if file.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{file}: a report is a page; name it {file.with_suffix('.html')}")
    if not file.resolve().parent.is_dir():
        raise ConfigError(f"{file}: there is no folder {file.parent}")


def write_report(
    selection: Selection,
    file: Path,
    verdicts: Sequence[ClaimVerdict] = (),
    progress: series.Progress | None = None,
) -> None:
    """Write the page whole; `progress` hears how many runs' tables are read.

    Raises ConfigError where no run has finished or the file is no .html.
    """
    check_page(file)
    text = page_text(selection, file, verdicts, progress)
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))


def page_text(
    selection: Selection,
    file: Path,
    verdicts: Sequence[ClaimVerdict] = (),
    progress: series.Progress | None = None,
) -> str:
    """The page as HTML, with links that hold where it is this file."""
    page = make_page(selection, file, verdicts, progress)
    specs = {picture.name: picture.spec for picture in page.pictures}
    theory = page.theory
    if theory:
        specs[theory.name] = theory.spec
    return render(
        "page/page.html.j2",
        page=page,
        specs=script_json(specs),
        theory=script_json(theory.data if theory else None),
        theory_script=packaged_file("page/theory.js"),
        style=packaged_file("page/style.css"),
        script=packaged_file("page/script.js"),
        vega=vega_script(),
    )


def make_page(
    selection: Selection,
    file: Path,
    verdicts: Sequence[ClaimVerdict] = (),
    progress: series.Progress | None = None,
) -> Page:
    """What the page says; raises ConfigError where no run has finished."""
    runs = series.with_variants(selection.frame)
    pictures, notes = page_pictures(runs, progress)
    experiments = [str(name) for name in dict.fromkeys(runs["experiment"])]
    return Page(
        title=", ".join(experiments),
        questions=[question for name in experiments for question in _question(name)],
        findings=findings(selection.frame),
        rows=variant_rows(runs),
        counts=counts_line(counts(selection.frame)),
        pictures=pictures,
        theory=theory_panel(few_runs(runs), progress),
        notes=notes,
        claims=verdicts,
        links=run_links(runs, file),
        repetition=repetition(runs, selection.folders, selection.where),
    )


def _question(experiment: str) -> list[str]:
    """The question that an experiment's YAML asks in its header, if normlab has that YAML."""
    file = experiment_file(experiment)
    if file is None:
        return []
    lines = file.read_text(encoding="utf-8").splitlines()[1:]
    end = next((i for i, line in enumerate(lines) if not line.startswith("# ")), len(lines))
    return [" ".join(line[1:].strip() for line in lines[:end])]
