"""Arguments and options that several commands have, and how a command's examples are written."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from normlab.cli.choices import AnswerFormat
from normlab.cli.completing import (
    complete_overrides,
    complete_runs,
    complete_where,
    complete_where_in_bash,
)

RESULTS = Path("results")


def examples(*lines: str) -> str:
    """The end of a command's help page."""
    return "\n\n".join(("[bold]Examples[/]", *lines))


def at_home(folder: Path | None) -> Path | None:
    """A folder whose ~ the shell has left, as it does behind `--root=`."""
    with contextlib.suppress(RuntimeError):  # no such user: a folder that is called so
        return folder and folder.expanduser()
    return folder


def folders_argument(without: str) -> Any:
    """The argument of results folders; `without` says what is meant where none is named."""
    return typer.Argument(
        metavar="FOLDERS",
        help=f"Results folders, at any level; without, {without}.",
        autocompletion=complete_where_in_bash,
    )


Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OVERRIDES",
        help="Settings in Hydra's grammar: [cyan]group=choice[/] or [cyan]dotted.key=value[/].",
        autocompletion=complete_overrides,
        show_default=False,
    ),
]
RunName = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="A run's folder, or the start of its id; without, the latest.",
        autocompletion=complete_runs,
        show_default=False,
    ),
]
ConfigDir = Annotated[
    Path | None,
    typer.Option(
        help="A folder of your own YAML groups, such as [cyan]DIR/model/mine.yaml[/].",
        callback=at_home,
    ),
]
Format = Annotated[
    AnswerFormat,
    typer.Option("--format", help="[cyan]json[/]: one object on stdout, nothing else."),
]
Force = Annotated[bool, typer.Option("--force", help="Run again what is finished.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run again what failed before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and write nothing.")]
Folders = Annotated[list[Path] | None, folders_argument("results/")]
ComparedFolders = Annotated[
    list[Path] | None, folders_argument("the experiment in results/ made last")
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        help="Only runs such as [cyan]norm=bn[/] or [cyan]model.depth>=20[/].",
        autocompletion=complete_where,
    ),
]
IdRoot = Annotated[Path, typer.Option("--root", help="Where to look for ids.", callback=at_home)]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Name the folders that are no sound runs.")
]
