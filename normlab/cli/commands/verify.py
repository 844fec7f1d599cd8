"""normlab verify"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from normlab import api
from normlab.cli.choices import VerdictFormat
from normlab.cli.commands.sweep import make_runs, print_plan
from normlab.cli.completing import complete_claims
from normlab.cli.options import ConfigDir, DryRun, RetryFailed, examples
from normlab.cli.output import is_for_people, make_console, print_shown
from normlab.errors import ConfigError, InterruptedRunError
from normlab.text import plural

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
        print_plan(verification.plan, console, dry_run=dry_run)
    if dry_run:
        return
    verification = verification.with_data(
        lambda line: console.print(f"{line}; the runs that need it are left out")
    )
    verdicts = judge_as_runs_end(verification, output_format, console)
    if any(verdict.verdict in ("FAIL", "INCOMPLETE") for verdict in verdicts):
        raise typer.Exit(1)


def list_claims(overrides: Sequence[str], scale: Literal["small", "paper"]) -> None:
    """Print every claim with the verdict that is known of it."""
    from normlab.claims import CLAIMS, check_settings, remembered
    from normlab.show import claims_table

    check_settings(overrides)
    for text in overrides:
        if not text.startswith("output.root="):
            raise ConfigError(f"{text}: of which claims? name them, or add --all")
    own = list(CLAIMS.values())
    last = remembered(api.results_root(overrides), scale, own)
    make_console().print(claims_table(own, scale, last))


def judge_as_runs_end(
    verification: api.Verification, output_format: str, console: "Console"
) -> "list[Verdict]":
    """Make the runs that are missing, and judge each claim, keep its verdict and print it, to
    people at once, as soon as its own runs have ended."""
    from normlab.show import TABLE_FORMATS, ClaimsSoFar, summary_line, verdict_report

    people = is_for_people(output_format)
    claims = {claim.id: claim for claim in verification.claims}
    found: dict[str, Verdict] = {}

    def judge(identity: str) -> str:
        found[identity] = verdict = verification.judge(claims[identity])
        verification.remember([verdict])
        if people:
            console.print(verdict_report(verdict))
        return verdict.verdict

    def judge_all(identities: Iterable[str]) -> None:
        for identity in identities:
            if identity not in found:
                with console.status(f"judging {identity}"):
                    judge(identity)

    waiting = verification.waiting()
    judge_all(identity for identity in claims if not waiting[identity])
    if verification.plan is not None and verification.plan.pending:
        runs = {identity: ids for identity, ids in waiting.items() if ids}
        try:
            make_runs(verification.plan, console, ClaimsSoFar(runs, judge))
        except InterruptedRunError:
            left = plural(len(claims) - len(found), "claim")
            console.print(f"{summary_line(list(found.values()))}; {left} not judged")
            raise
    judge_all(claims)
    verdicts = [found[identity] for identity in claims]
    show = TABLE_FORMATS[output_format].verdicts
    if not people and show is not None:
        print_shown(show(verdicts))
    console.print(summary_line(verdicts))
    return verdicts
