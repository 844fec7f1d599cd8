"""normlab export"""

import itertools
import shlex
from pathlib import Path
from typing import Annotated

import typer

from normlab import api
from normlab.analysis import EXPORTS
from normlab.cli.choices import ExportName
from normlab.cli.options import RESULTS, Folders, Verbose, Where, examples
from normlab.cli.output import print_problems
from normlab.errors import ConfigError
from normlab.text import plural

EXAMPLES = examples(
    "normlab export tensorboard results/quickstart",
    "normlab export csv results/quickstart -o bn.csv --where norm=bn",
    "normlab export parquet --layers --where model.depth=56",
    "normlab export jsonl results/quickstart -o runs.jsonl",
    "normlab export mlflow -o mlflow.db",
)


def export(
    kind: Annotated[ExportName, typer.Argument(help="The program, or kind of file, to write for.")],
    folders: Folders = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PLACE",
            help="A file, for trackers a folder, for MLflow also sqlite:///FILE; without, one in "
            "the current folder.",
        ),
    ] = None,
    where: Where = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="Of csv and parquet: a row an evaluation.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Of csv and parquet: a row a step and layer.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Write runs for another program: a table, lines of JSON, or an experiment tracker's files.

    A row of a table is a run, its whole configuration and its final figures. Trackers get the
    values of every step and layer, the configuration and the verdict; nothing is uploaded. What was
    exported before is not doubled.
    """
    if steps and layers:
        raise ConfigError("--layers: comes without --steps, as a file has one kind of rows")
    problems: list[str] = []
    written = api.export(
        kind,
        *folders or (RESULTS,),
        output=output,
        where=where or (),
        rows="steps" if steps else "layers" if layers else "runs",
        on_problem=problems.append,
    )
    runs = plural(written.runs, "run")
    part = EXPORTS[kind]
    counted = not part.tables or steps or layers
    told = f"{plural(written.rows, part.unit)} of {runs}" if counted else runs
    lines = [f"{told} written to {written.place}"] if written.runs or not written.kept else []
    if written.kept:
        lines.append(f"{plural(written.kept, 'run')} there already, in {written.place}")
    print(*lines, sep="\n")
    if part.look is not None:
        print(f"next  {part.look(shlex.quote(written.place))}")
    print_problems(problems, verbose=verbose)


def moved(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Say what `normlab results export FILE` has become."""
    given = (words or [])[1:]
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), given))
    file, folders = (names[0], names[1:]) if names else ("FILE.csv", [])
    kind = Path(file).suffix.removeprefix(".") or "csv"
    now = shlex.join(["normlab", "export", kind, *folders, "-o", file, *given[len(names) :]])
    raise ConfigError(f"normlab results export: has become {now}")
