"""normlab compare"""

from typing import Annotated

import typer

from normlab import api
from normlab.cli.choices import ComparisonFormat
from normlab.cli.options import ComparedFolders, Verbose, Where, examples
from normlab.cli.output import make_console, print_choice, print_problems, print_shown

EXAMPLES = examples(
    "normlab compare results/quickstart",
    "normlab compare --rows norm,model.residual --cols model.depth --metric train_acc",
    "normlab compare --where 'norm=none,bn' --baseline norm=none",
    "normlab compare --metric train_acc --metric gradient_ratio_init --format latex",
)


def compare(
    folders: ComparedFolders = None,
    rows: Annotated[
        str | None, typer.Option(help="Keys of the rows, by commas; without, whatever varies.")
    ] = None,
    cols: Annotated[
        str | None, typer.Option(help="Keys of the columns; without, model.depth if it varies.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="What is averaged over seeds, by commas or several times."),
    ] = None,
    where: Where = None,
    sort: Annotated[
        str | None, typer.Option(help="A row key or metric; -train_acc is the best first.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Paired differences from such as [cyan]norm=none[/].")
    ] = None,
    output_format: Annotated[ComparisonFormat, typer.Option("--format")] = "rich",
    verbose: Verbose = False,
) -> None:
    """Compare runs: mean and 95% confidence interval over seeds, in one table."""
    from normlab.show import ComparisonOptions, comparison

    console = make_console()
    problems: list[str] = []
    places = api.places_to_compare(folders or (), where or (), on_choice=print_choice)
    frame = api.read_results(*places, where=where or (), on_problem=problems.append)
    metrics = [name for part in metric or ["train_acc"] for name in part.split(",")]
    options = ComparisonOptions(split_keys(rows), split_keys(cols), metrics, sort, baseline)
    print_shown(comparison(frame, options, output_format, console.width), console)
    print_problems(problems, verbose=verbose)


def split_keys(keys: str | None) -> list[str] | None:
    """Keys that were typed with commas between them; None stays, for the default."""
    return None if keys is None else [key for key in keys.split(",") if key]
