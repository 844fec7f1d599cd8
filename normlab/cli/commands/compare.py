"""normlab compare"""

from typing import Annotated

import typer

from normlab import api
from normlab.cli.choices import ComparisonFormat
from normlab.cli.completing import complete_keys, complete_metrics, complete_where
from normlab.cli.options import ComparedFolders, Verbose, Where, examples
from normlab.cli.output import (
    is_for_people,
    make_console,
    print_beside,
    print_problems,
    print_shown,
    said_meanwhile,
)
from normlab.vocabulary import METRICS, Spread

EXAMPLES = examples(
    "normlab compare results/quickstart",
    "normlab compare --rows norm,model.residual --cols model.depth --metric train_acc",
    "normlab compare --where 'norm=none,bn' --baseline norm=none",
    "normlab compare --best optimizer.lr --by test_acc --metric test_error --spread std",
    "normlab compare --metric train_acc --metric gradient_ratio_init --format latex",
)


def compare(
    folders: ComparedFolders = None,
    rows: Annotated[
        str | None,
        typer.Option(
            help="Keys of the rows, by commas; without, whatever varies.",
            autocompletion=complete_keys,
        ),
    ] = None,
    cols: Annotated[
        str | None,
        typer.Option(
            help="Keys of the columns; without, model.depth if it varies.",
            autocompletion=complete_keys,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What is averaged over seeds, by commas or several times: {', '.join(METRICS)}.",
            autocompletion=complete_metrics,
        ),
    ] = None,
    where: Where = None,
    sort: Annotated[
        str | None,
        typer.Option(
            help="A row key, metric or other column, such as [cyan]model.depth=56[/] or "
            "[cyan]n[/]; -train_acc is the best first."
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="Paired differences from such as [cyan]norm=none[/].",
            autocompletion=complete_where,
        ),
    ] = None,
    best: Annotated[
        str | None,
        typer.Option(
            help="Keys by commas, such as [cyan]optimizer.lr[/]: each cell at its best value only.",
            autocompletion=complete_keys,
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="The metric by whose mean --best chooses; without, test_acc.",
            autocompletion=complete_metrics,
        ),
    ] = None,
    spread: Annotated[
        Spread,
        typer.Option(help="Beside a mean: its 95% confidence interval, or the runs' deviation."),
    ] = "interval",
    output_format: Annotated[ComparisonFormat, typer.Option("--format")] = "rich",
    caption: Annotated[
        str | None, typer.Option(help="Of --format latex; without, what the table shows.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Compare runs: mean and 95% confidence interval over seeds, in one table."""
    console = make_console(quiet=not is_for_people(output_format))
    problems: list[str] = []
    with said_meanwhile("reading runs", console):
        from normlab.show import ComparisonOptions, comparison

        places = api.places_to_compare(folders or (), where or (), on_choice=print_beside)
        frame = api.read_results(*places, where=where or (), on_problem=problems.append)
    metrics = [name for part in metric or () for name in part.split(",")]
    options = ComparisonOptions(
        rows=api.names_in(rows),
        cols=api.names_in(cols),
        metrics=metrics,
        sort=sort,
        baseline=baseline,
        best=api.names_in(best) or (),
        by=by,
        spread=spread,
        caption=caption,
    )
    shown = comparison(frame, options, output_format, print_beside)
    print_shown(shown, console)
    print_problems(problems, verbose=verbose)
