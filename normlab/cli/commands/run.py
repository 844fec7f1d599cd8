"""normlab run"""

import contextlib
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normlab import api, plugins
from normlab.cli.commands.doctor import try_advice
from normlab.cli.commands.sweep import sweep
from normlab.cli.event_lines import STDOUT, Write, open_lines, written
from normlab.cli.options import ConfigDir, Force, Format, Overrides, examples
from normlab.cli.output import (
    is_for_people,
    make_console,
    print_answer,
    print_run,
    said_meanwhile,
)
from normlab.errors import ConfigError, InterruptedRunError, NormlabError

if TYPE_CHECKING:
    from rich.console import Console

    from normlab.config import Config
    from normlab.runs import Run, SavedRun

EXAMPLES = examples(
    "normlab run",
    "normlab run model=mlp model.depth=20 model.activation=sigmoid norm=none",
    "normlab run model=resnet model.depth=56 norm=ln optimizer.lr=0.05",
    "normlab run data=cifar10 data.train_size=5000 training.epochs=5",
    "normlab run model=mlp --cfg",
    "normlab run model=resnet --jsonl - | jq -c 'select(.event==\"evaluation\")'",
)


def run(
    overrides: Overrides = None,
    cfg: Annotated[
        bool, typer.Option("--cfg", help="Print the composed configuration and stop.")
    ] = False,
    multirun: Annotated[
        bool, typer.Option("--multirun", "-m", help="Several runs: the same as [cyan]sweep[/].")
    ] = False,
    force: Force = False,
    doctor: Annotated[
        bool, typer.Option("--doctor", help="Then try its advice: the same as [cyan]doctor[/].")
    ] = False,
    jsonl: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write every event as a line of JSON while it trains; [cyan]-[/]: to stdout, "
            "which then has nothing else.",
        ),
    ] = None,
    output_format: Format = "rich",
    config_dir: ConfigDir = None,
) -> None:
    """Train one network, measure every layer, and say what happened.

    Files go to [cyan]results/<experiment>/<run_id>/[/]; a finished run is shown, not run again.
    """
    if doctor and (multirun or cfg):
        raise ConfigError("--doctor: of one run that is made; leave out -m and --cfg")
    check_lines(jsonl, output_format, several=multirun or cfg, doctor=doctor)
    if multirun:
        if cfg or not is_for_people(output_format):
            option = "--cfg" if cfg else f"--format {output_format}"
            raise ConfigError(
                f"{option}: of one run, not with -m; normlab sweep --dry-run prints the plan, "
                "normlab compare --format json the results"
            )
        sweep(overrides, force=force, config_dir=config_dir)
        return
    aside = jsonl == STDOUT  # what a person would read
    with said_meanwhile("reading the settings", console_beside(output_format, quiet=aside)):
        from normlab.runs import of_other_data

        config = api.compose(*overrides or (), config_dir=config_dir)
        tell_of_sweep(config, overrides or [], config_dir)
        finished = None if force or cfg else api.finished_run(config)
    if cfg:
        print_config(config, output_format)
        return
    if finished is not None and is_for_people(output_format) and not aside:
        make_console().print("Finished before, shown from its files; --force runs it again.\n")
    if finished is not None and of_other_data([(config, finished.summary)]):
        told = "this run was made of other data than are there now; --force makes it again"
        print(told, file=sys.stderr)
    made = make_or_tell(config, finished, jsonl, output_format, force=force)
    if aside:
        return
    if not doctor:
        print_run(made, output_format)
        return
    if is_for_people(output_format):
        print_run(made, output_format)
        print()
    try_advice(made, output_format)


def check_lines(jsonl: str | None, output_format: str, *, several: bool, doctor: bool) -> None:
    """Raise ConfigError where a run's lines cannot go with what else is asked for."""
    if jsonl is None:
        return
    if several:
        raise ConfigError("--jsonl: of one run that is made; leave out -m and --cfg")
    if jsonl == STDOUT and (doctor or not is_for_people(output_format)):
        option = "--doctor" if doctor else f"--format {output_format}"
        raise ConfigError(
            f"--jsonl -: stdout has its lines and nothing else; leave out {option}, or name a file"
        )


def make_or_tell(
    config: "Config",
    finished: "Run | None",
    jsonl: str | None,
    output_format: str,
    *,
    force: bool,
) -> "Run":
    """The run of a configuration, finished before or made now, its lines written where asked."""
    if jsonl is None:
        return finished or make_run(config, output_format, force=force)
    with open_lines(jsonl) as write:
        if finished is None:
            with failure_told(config, write):
                quiet = jsonl == STDOUT
                return make_run(config, output_format, force=force, write=write, quiet=quiet)
        from normlab.runs import lines_of_run

        for line in lines_of_run(finished):
            write(line)
        return finished


@contextlib.contextmanager
def failure_told(config: "Config", write: Write) -> Iterator[None]:
    """The last line of a run that fails, which has none of its own."""
    from normlab.runs import end_line, read_summary, run_folder

    try:
        yield
    except NormlabError:
        summary = read_summary(run_folder(config))
        if summary is not None and summary.status == "failed":
            write(end_line(summary))
        raise


def tell_of_sweep(config: "Config", overrides: Sequence[str], config_dir: Path | None) -> None:
    """Say on stderr that an experiment is a sweep of which this is only one run."""
    if not any(override.startswith("experiment=") for override in overrides):
        return
    runs, among = api.sweep_around(config, *overrides, config_dir=config_dir)
    if runs > 1:
        own = [] if config_dir is None else ["--config-dir", str(config_dir)]
        words = shlex.join([*overrides, *own])
        this = "one of them" if among else "a single run with its settings, and none of them"
        print(
            f"this is a sweep of {runs} runs, and normlab run makes {this}; "
            f"all are made by: {shlex.join(plugins.command())} sweep {words}",
            file=sys.stderr,
        )


def print_config(config: "Config", output_format: str) -> None:
    """Print a configuration as YAML, or in another format."""
    from normlab.config import to_yaml

    if is_for_people(output_format):
        print(to_yaml(config), end="")
    else:
        print_answer(output_format, config.model_dump(mode="json"), str)


def make_run(
    config: "Config",
    output_format: str,
    *,
    force: bool,
    start: "SavedRun | None" = None,
    write: Write | None = None,
    quiet: bool = False,
) -> "Run":
    """Make a run and show it as it goes, its lines to `write`.

    Raises InterruptedRunError with what is kept of it.
    """
    from normlab.config import describe
    from normlab.runs import finished_elsewhere, made_with_other_plugins, run_folder

    name = describe(config)
    console = console_beside(output_format, quiet=quiet)
    for folder in [] if force else finished_elsewhere([config])[:1]:
        experiment = config.output.experiment
        console.print(f"finished in {folder} too, made anew for {experiment}", soft_wrap=True)
    for folder in [] if force else made_with_other_plugins([config])[:1]:
        told = "the same settings with another source of a plugin; this is a new run"
        console.print(f"{folder}: {told}", soft_wrap=True)
    with said_meanwhile(f"{name}: loading PyTorch", console):
        # What takes two seconds to import.
        from normlab.runs import execute as execute
        from normlab.show import watch

    try:
        return api.run_config(
            config,
            force=force,
            start=start,
            follow=lambda made: watch(
                written(made, config, write, force=force) if write else made, console, name
            ),
        )
    except KeyboardInterrupt:
        advice = kept_of(run_folder(config), force=force)
        raise InterruptedRunError("; ".join(("interrupted", *advice))) from None


def kept_of(folder: Path, *, force: bool) -> list[str]:
    """What there is of a run that was interrupted, and how to go on with it."""
    from normlab.runs import CHECKPOINT_FILE, read_summary, working_folder

    found = []
    place = working_folder(folder, force=True)  # also one that is made again for its weights
    if (place / CHECKPOINT_FILE).exists():
        without = " without --force" if force and place == folder else ""
        found.append(f"the same command{without} goes on from there")
    summary = read_summary(folder)
    if summary is not None and summary.status == "interrupted":
        found.append(f"normlab show {folder} prints what was measured")
    elif summary is not None and summary.final:
        found.append("the finished run of before is as it was")
    return found


def console_beside(output_format: str, *, quiet: bool = False) -> "Console":
    """Where a run is shown as it goes, so that what is sent elsewhere from stdout stays whole.

    A person who sends the report into a file still sees the run; without any terminal the report
    is preceded by it, and other formats by nothing.
    """
    if quiet:
        return make_console(quiet=True)
    people = is_for_people(output_format)
    console = make_console(stderr=not people or not sys.stdout.isatty())
    return console if console.is_terminal else make_console(quiet=not people)
