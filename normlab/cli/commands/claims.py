"""normlab claims"""

from pathlib import Path
from typing import Annotated

import typer

from normlab.cli.completing import complete_claims
from normlab.cli.options import RESULTS, at_home, examples
from normlab.cli.output import make_console

EXAMPLES = examples("normlab claims C14", "normlab claims mine.yaml")


def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLAIMS",
            help="Ids such as [cyan]C14[/]; without, the list.",
            autocompletion=complete_claims,
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Where verdicts are looked for.", callback=at_home)
    ] = RESULTS,
) -> None:
    """Explain claims: what is compared, which trap is avoided, how to repeat a single arm."""
    from normlab.claims import CLAIMS, find_claims, remembered
    from normlab.show import claim_page, claims_table

    chosen = find_claims(names) if names else list(CLAIMS.values())
    last, console = remembered(root, "small", chosen), make_console()
    if not names:
        console.print(claims_table(chosen, "small", last))
    for claim in chosen if names else ():
        console.print(claim_page(claim, last.get(claim.id)))
        console.print()
