"""The Typer application: every command, and what they have in common."""

import contextlib
from dataclasses import dataclass
from typing import Annotated

import typer

from normlab import __version__
from normlab.cli.commands import (
    bench,
    bench_diagnosis,
    claims,
    compare,
    doctor,
    explain,
    export,
    extend,
    info,
    ls,
    plot,
    report,
    run,
    show,
    sweep,
    theory,
    verify,
)
from normlab.cli.options import examples
from normlab.errors import NormlabError, check_platform

app = typer.Typer(
    name="normlab",
    help="See gradients vanish, explode and flow: deep networks with and without normalization "
    "and residual learning.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    epilog=examples(
        "normlab sweep experiment=quickstart",
        "normlab run model=resnet model.depth=56",
        "normlab run --help",
    ),
    pretty_exceptions_enable=False,
)


@dataclass
class Invocation:
    """What holds for all of a command line, whichever command it names."""

    debug: bool = False
    command: str = "run"


def load_while_completing(context: typer.Context, given: list[str]) -> list[str]:
    """Load plugins where the shell asks how to go on, for which no command is run."""
    if context.resilient_parsing:
        with contextlib.suppress(NormlabError):
            load_plugins(given)
    return given


def load_plugins(given: list[str]) -> None:
    """Load the plugins that a command line names; raises ConfigError."""
    if given:
        from normlab import api

        for plugin in given:
            api.load_plugin(plugin)


@app.callback(invoke_without_command=True)
def common_options(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE_OR_MODULE",
            help="Load parts of your own: FILE.py or a MODULE; as often as needed.",
            callback=load_while_completing,
        ),
    ] = None,
) -> None:
    """What comes before a command's name."""
    invocation = context.ensure_object(Invocation)
    invocation.debug, invocation.command = debug, context.invoked_subcommand or invocation.command
    if version:
        print(f"normlab {__version__}")
        return
    check_platform()
    load_plugins(plugin or [])
    if context.invoked_subcommand is None:
        print(context.get_help())


# In the order of use.
MAKE, READ, CLAIMS, MORE = "Make runs", "See what happened", "Test what is claimed", "Know more"
app.command(epilog=run.EXAMPLES, rich_help_panel=MAKE)(run.run)
app.command(epilog=sweep.EXAMPLES, rich_help_panel=MAKE)(sweep.sweep)
app.command(epilog=extend.EXAMPLES, rich_help_panel=MAKE)(extend.extend)
app.command(epilog=show.EXAMPLES, rich_help_panel=READ)(show.show)
app.command(epilog=doctor.EXAMPLES, rich_help_panel=READ)(doctor.doctor)
app.command(epilog=ls.EXAMPLES, rich_help_panel=READ)(ls.ls)
app.command(epilog=compare.EXAMPLES, rich_help_panel=READ)(compare.compare)
app.command(epilog=plot.EXAMPLES, rich_help_panel=READ)(plot.plot)
app.command(epilog=report.EXAMPLES, rich_help_panel=READ)(report.report)
app.command(epilog=export.EXAMPLES, rich_help_panel=READ)(export.export)
app.command(epilog=verify.EXAMPLES, rich_help_panel=CLAIMS)(verify.verify)
app.command(epilog=claims.EXAMPLES, rich_help_panel=CLAIMS)(claims.claims)
app.command(epilog=theory.EXAMPLES, rich_help_panel=CLAIMS)(theory.theory)
app.command(epilog=explain.EXAMPLES, rich_help_panel=MORE)(explain.explain)
app.command(epilog=info.EXAMPLES, rich_help_panel=MORE)(info.info)
app.command(epilog=bench.EXAMPLES, rich_help_panel=MORE)(bench.bench)
app.command(epilog=bench_diagnosis.EXAMPLES, rich_help_panel=MORE)(bench_diagnosis.bench_diagnosis)

app.command(
    name="results",
    hidden=True,
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
)(export.moved)
