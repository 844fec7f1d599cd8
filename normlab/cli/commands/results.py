"""normlab results"""

from pathlib import Path
from typing import Annotated

import typer

from normlab import api
from normlab.cli.options import RESULTS, Folders, Verbose, Where, examples
from normlab.cli.output import print_problems
from normlab.errors import ConfigError
from normlab.text import plural

EXPORT_EXAMPLES = examples(
    "normlab results export runs.parquet",
    "normlab results export bn.csv results/quickstart --where norm=bn",
    "normlab results export curves.csv results/quickstart --steps",
    "normlab results export gradients.parquet --layers --where model.depth=56",
)


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="FILE.parquet or FILE.csv")],
    folders: Folders = None,
    where: Where = None,
    steps: Annotated[
        bool, typer.Option("--steps", help="A row an evaluation, of every run.")
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="A row a step and layer, of every run.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Write every run as a row: its whole configuration and its final figures."""
    if steps and layers:
        raise ConfigError("--layers: comes without --steps, as a file has one kind of rows")
    problems: list[str] = []
    written = api.export(
        file,
        *folders or (RESULTS,),
        where=where or (),
        rows="steps" if steps else "layers" if layers else "runs",
        on_problem=problems.append,
    )
    runs = plural(written.runs, "run")
    rows = f"{plural(written.rows, 'row')} of {runs}" if steps or layers else runs
    print(f"{rows} written to {file}")
    print_problems(problems, verbose=verbose)
