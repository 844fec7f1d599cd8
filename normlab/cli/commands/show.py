"""normlab show"""

from normlab import api
from normlab.cli.options import RESULTS, Format, IdRoot, RunName, examples
from normlab.cli.output import print_run

EXAMPLES = examples("normlab show", "normlab show results/runs/1b02030fe1", "normlab show 1b02")


def show(
    run: RunName = None,
    root: IdRoot = RESULTS,
    output_format: Format = "rich",
) -> None:
    """Print a run again from its files."""
    print_run(api.read_run(run, root).files, output_format)
