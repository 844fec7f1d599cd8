"""normlab show"""

from normlab import api
from normlab.cli.options import RESULTS, Format, IdRoot, RunName, examples
from normlab.cli.output import is_for_people, make_console, print_run, said_meanwhile

EXAMPLES = examples("normlab show", "normlab show results/runs/1b02030fe1", "normlab show 1b02")


def show(
    run: RunName = None,
    root: IdRoot = RESULTS,
    output_format: Format = "rich",
) -> None:
    """Print a run again from its files."""
    console = make_console(quiet=not is_for_people(output_format))
    with said_meanwhile("reading the run", console):
        files = api.read_run(run, root).files
    print_run(files, output_format)
