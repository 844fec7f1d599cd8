"""normlab verify"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from normlab import api
from normlab.cli.choices import VerdictFormat
from normlab.cli.commands.sweep import make_runs, print_plan
from normlab.cli.options import ConfigDir, DryRun, RetryFailed, complete_claims, examples
from normlab.cli.output import is_for_people, make_console, print_shown
from normlab.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from normlab.claims import Verdict

EXAMPLES = examples(
    "normlab verify",
    "normlab verify C06 C14 C17",
    "normlab verify --all --format md",
    "normlab verify C14 --scale paper runtime.device=cuda",
    "normlab verify mine.yaml",
)


def verify(
    claims: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="CLAIMS",
            help="Ids such as [cyan]C14[/], YAML files of your own, and settings of where runs are "
            "made, such as [cyan]launcher=ray[/]; without, the list of claims.",
            autocompletion=complete_claims,
            show_default=False,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every claim.")] = False,
    scale: Annotated[
        Literal["small", "paper"],
        typer.Option(help="[cyan]paper[/]: the papers' own protocols, mostly for a GPU."),
    ] = "small",
    retry_failed: RetryFailed = False,
    dry_run: DryRun = False,
    output_format: Annotated[VerdictFormat, typer.Option("--format")] = "rich",
    config_dir: ConfigDir = None,
) -> None:
    """Put claims of the literature to the test: run what is missing, measure, and judge.

    Exit code 1 if any claim fails or could not be judged.
    """
    words = claims or []
    names, overrides = api.claim_words(words)
    if every and names:
        raise ConfigError(f"--all: takes no claims beside it; leave out {' '.join(names)}")
    people = is_for_people(output_format)
    if not names and not every:
        if not people:
            raise ConfigError(f"--format {output_format}: name the claims, or add --all")
        list_claims(overrides, scale)
        return
    console = make_console(stderr=not people)
    with console.status("planning"):
        verification = api.plan_verification(
            *words, scale=scale, config_dir=config_dir, retry_failed=retry_failed
        )
    if verification.plan is not None:
        print_plan(verification.plan, console, dry_run=False)
    if dry_run:
        return
    if verification.plan is not None and verification.plan.pending:
        make_runs(verification.plan, console)
    verdicts = judge(verification, output_format, console)
    if any(verdict.verdict in ("FAIL", "INCOMPLETE") for verdict in verdicts):
        raise typer.Exit(1)


def list_claims(overrides: Sequence[str], scale: Literal["small", "paper"]) -> None:
    """Print every claim with the verdict that is known of it."""
    from normlab.claims import CLAIMS, remembered
    from normlab.show import claims_table

    own = list(CLAIMS.values())
    last = remembered(api.results_root(overrides), scale, own)
    make_console().print(claims_table(own, scale, last))


def judge(
    verification: api.Verification, output_format: str, console: "Console"
) -> "list[Verdict]":
    """Judge each claim, keep the verdicts and print them, to people each as it is there."""
    from normlab.show import TABLE_FORMATS, summary_line, verdict_report

    people = is_for_people(output_format)
    verdicts: list[Verdict] = []
    for claim in verification.claims:
        with console.status(f"judging {claim.id}"):
            verdicts.append(verification.judge(claim))
        if people:
            console.print(verdict_report(verdicts[-1]))
    verification.remember(verdicts)
    show = TABLE_FORMATS[output_format].verdicts
    if not people and show is not None:
        print_shown(show(verdicts))
    console.print(summary_line(verdicts))
    return verdicts
