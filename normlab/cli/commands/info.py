"""normlab info"""

from normlab import api
from normlab.cli.options import Format, examples
from normlab.cli.output import print_answer

EXAMPLES = examples("normlab info", "normlab info --format json")


def info(output_format: Format = "rich") -> None:
    """Print versions, devices, and where data sets lie."""
    from normlab.show import info_table

    facts = api.info().to_plain()
    print_answer(output_format, facts, lambda: info_table(facts))
