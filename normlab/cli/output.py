"""How commands print: consoles, answers, reports, and what is said of folders that are no runs."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from normlab.show import TABLE_FORMATS
from normlab.text import plural, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from normlab.runs import Run, WatchedRun

# In columns, of what goes into a file or a pipe.
FILE_WIDTH = 120
FILE_HEIGHT = 25  # in lines, of a picture
# What is narrower than a cell of a table is left to the terminal to break.
LEAST_WIDTH = 20


def make_console(*, stderr: bool = False, quiet: bool = False) -> "Console":
    """A console as wide as the terminal, or FILE_WIDTH where there is none."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            # The reader of `normlab run | head` has enough; the run itself is still wanted.
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    # What is printed may be words of files that others wrote: none of it is markup.
    console = PipeConsole(stderr=stderr, quiet=quiet, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:  # the same into every file, whatever other terminal there is
        console.height = FILE_HEIGHT
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told) > 0:
        console.width = max(int(told), LEAST_WIDTH)
    elif not console.is_terminal:
        console.width = FILE_WIDTH
    elif told:  # 0 or no number
        console.width = shutil.get_terminal_size().columns
    return console


def is_for_people(form: str) -> bool:
    """Whether a format is for people to read; otherwise stdout holds the answer and no more."""
    return TABLE_FORMATS[form].for_people


def print_shown(shown: "RenderableType | str", console: "Console | None" = None) -> None:
    """Print text as it is, with lines as long as they are, and anything else on a console."""
    if isinstance(shown, str):
        print(shown)
    else:
        (console or make_console()).print(shown)


def print_answer(form: str, values: Any, draw: "Callable[[], RenderableType]") -> None:
    """Print a command's values in a format, one for people as `draw` has it."""
    print_shown(answer_in(form, values, draw))


def answer_in(
    form: str, values: Any, draw: "Callable[[], RenderableType]"
) -> "RenderableType | str":
    """A command's values in a format, one for people as `draw` has it."""
    answer = TABLE_FORMATS[form].answer
    assert answer is not None  # the formats to choose from all have one
    return answer(values, draw)


def print_run(run: "Run | WatchedRun", form: str) -> None:
    """Print a run's report, or in another format its summary."""
    from normlab.show import run_report

    console = make_console()
    print_answer(form, run.summary.to_plain(), lambda: run_report(run, console.width))


@contextmanager
def said_meanwhile(text: str, console: "Console") -> Iterator[None]:
    """A line on a terminal, and nowhere else, while what a command needs is imported or read.

    Of it nothing stays. What is said on stderr meanwhile goes above it, or into stderr's file.
    """
    if console.quiet or not console.is_terminal or console.is_dumb_terminal:
        yield
        return
    from rich.live import Live
    from rich.spinner import Spinner

    spinner = Spinner("dots", text, style="status.spinner")
    with Live(spinner, console=console, transient=True, redirect_stderr=sys.stderr.isatty()):
        yield


@contextmanager
def reading_bar(console: "Console") -> Iterator[Callable[[int, int], None]]:
    """A bar, on a terminal only, that the yielded function moves to so many of so many runs."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    if not console.is_terminal:
        yield lambda *_: None
        return
    columns = (TextColumn("reading runs"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_beside(line: str) -> None:
    """Say on stderr what belongs to an answer, such as which of several experiments it is of."""
    print(line, file=sys.stderr)


def print_problems(problems: Sequence[str], *, verbose: bool) -> None:
    """Name on stderr the folders that are no sound runs, or say how many they are."""
    if problems and verbose:
        print(*map(printable, problems), sep="\n", file=sys.stderr)
    elif problems:
        count = plural(len(problems), "folder")
        print(f"{count} left out as no sound run; --verbose names them", file=sys.stderr)
