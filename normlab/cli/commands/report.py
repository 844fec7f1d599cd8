"""normlab report"""

from pathlib import Path
from typing import Annotated

import typer

from normlab import api
from normlab.cli.options import ComparedFolders, Verbose, Where, examples
from normlab.cli.output import make_console, print_beside, print_problems, reading_bar

EXAMPLES = examples("normlab report results/quickstart -o report.html")


def report(
    folders: ComparedFolders = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.html")] = Path("report.html"),
    where: Where = None,
    verbose: Verbose = False,
) -> None:
    """Write one page of findings, table, interactive pictures, and how to repeat it.

    It holds all it needs and opens from disk without a network.
    """
    places = api.places_to_compare(folders or (), where or (), on_choice=print_beside)
    write_report(api.results_in(places, where or ()), output, verbose=verbose)


def write_report(results: api.Results, output: Path, *, verbose: bool = False) -> None:
    """Write a report and say where it is."""
    with reading_bar(make_console(stderr=True)) as progress:
        results.report(output, progress)
    print(f"written to {output} ({output.stat().st_size / 1e6:.1f} MB)")
    print_problems(results.problems, verbose=verbose)
