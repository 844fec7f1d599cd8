"""Arguments and options that several commands have, and how a command's examples are written."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from normlab.cli.choices import AnswerFormat

RESULTS = Path("results")


def examples(*lines: str) -> str:
    """The end of a command's help page."""
    return "\n\n".join(("[bold]Examples[/]", *lines))


def complete_overrides(context: typer.Context, incomplete: str) -> list[str]:
    """How a setting that is being typed can go on."""
    from normlab.config import complete_override

    return complete_override(context.params.get("overrides") or [], incomplete)


def complete_claims(incomplete: str) -> list[str]:
    """The ids of claims that begin so."""
    from normlab.claims import claim_ids

    return [name for name in claim_ids() if name.startswith(incomplete.upper())]


def complete_runs(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The ids of runs that begin so, each with its network and what became of it."""
    from normlab.runs import parse_summary, run_folders

    root = Path(context.params.get("root") or RESULTS)
    found: dict[str, str] = {}
    for folder, text in run_folders([root], []) if root.is_dir() else ():
        name = Path(folder).name
        if name.startswith(incomplete):
            with contextlib.suppress(ValueError, RecursionError):
                told = parse_summary(text) if text is not None else None
                found[name] = f"{told.name}, {told.verdict or told.status}" if told else ""
    return list(found.items())


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OVERRIDES",
        help="Settings in Hydra's grammar: [cyan]group=choice[/] or [cyan]dotted.key=value[/].",
        autocompletion=complete_overrides,
        show_default=False,
    ),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(help="A folder of your own YAML groups, such as [cyan]DIR/model/mine.yaml[/]."),
]
Format = Annotated[
    AnswerFormat,
    typer.Option("--format", help="[cyan]json[/]: one object on stdout, nothing else."),
]
Force = Annotated[bool, typer.Option("--force", help="Run again what is finished.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run again what failed before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and write nothing.")]
Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="FOLDERS", help="Results folders, at any level; without, results/."),
]
ComparedFolders = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FOLDERS",
        help="Results folders, at any level; without, the experiment in results/ made last.",
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", help="Only runs such as [cyan]norm=bn[/] or [cyan]model.depth>=20[/]."),
]
IdRoot = Annotated[Path, typer.Option("--root", help="Where to look for ids.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Name the folders that are no sound runs.")
]
