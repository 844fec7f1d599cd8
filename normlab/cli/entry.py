"""The program: a command line in, an exit code out, and every error in one line on stderr."""

import atexit
import gc
import re
import signal
import sys

from normlab.cli.application import Invocation, app
from normlab.cli.streams import prepare_streams
from normlab.errors import InterruptedRunError, MissingPluginError, NormlabError
from normlab.text import printable

USAGE_ERROR = 2
UNFORESEEN_ERROR = 3
# Options of all commands, and how they are typed.
BEFORE_A_COMMAND = {"--debug": "--debug", "--plugin": "--plugin FILE_OR_MODULE"}
# Of one error; what a person types or writes into a file may be longer.
MOST_CHARACTERS = 2000


def main() -> None:
    """Run the command line and end the process with its exit code."""
    # Python's last garbage collection would walk all of torch: half a second for nothing.
    atexit.register(gc.freeze)
    prepare_streams()
    received = signals_as_ctrl_c()
    code = run_command_line()
    sys.exit(128 + received[0] if received and code == InterruptedRunError.exit_code else code)


def run_command_line() -> int:
    """Run what was typed and return the exit code; what goes wrong is printed, or with --debug
    raised."""
    invocation = Invocation()
    try:
        code: int = app(standalone_mode=False, obj=invocation) or 0
    except Exception as error:
        if invocation.debug:
            raise
        print_error(message_of(error, invocation.command))
        return exit_code_of(error)
    if code == InterruptedRunError.exit_code:  # Ctrl-C before there was anything to lose
        print_error("interrupted")
    return code


def message_of(error: Exception, command: str = "run") -> str:
    """What a person needs to know of an error of a command."""
    if isinstance(error, MissingPluginError):
        return f"{error} {command}"
    if isinstance(error, NormlabError):
        return str(error)
    if is_usage_error(error):
        if (option := getattr(error, "option_name", None)) in BEFORE_A_COMMAND:
            typed = f"normlab {BEFORE_A_COMMAND[option]} {command}"
            return f"{option}: comes before the command, as in {typed}"
        message = str(error.format_message())  # type: ignore[attr-defined]
        return setting_meant(error) or message.replace("Value error, ", "")  # pydantic's words
    return f"{type(error).__name__}: {error}; normlab --debug … shows where"


def setting_meant(error: Exception) -> str | None:
    """How an option that is none, such as `--depth 20`, is written as a setting, if it is one."""
    option, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    takes = context.command.params if option and context else ()
    if "overrides" not in {parameter.name for parameter in takes}:
        return None
    from normlab.config import key_called

    key = key_called(str(option).lstrip("-").replace("-", "_"))
    if key is None:
        return None
    typed = "\0".join([*sys.argv, ""])
    value = re.search(rf"\0{re.escape(str(option))}[=\0]([^\0]+)", typed)
    return f"{option}: no such option; settings are written {key}={value[1] if value else '…'}"


def exit_code_of(error: Exception) -> int:
    """The exit code by the kind of an error."""
    if isinstance(error, NormlabError):
        return error.exit_code
    return USAGE_ERROR if is_usage_error(error) else UNFORESEEN_ERROR


def is_usage_error(error: Exception) -> bool:
    """Whether Typer could not read the command line; its classes moved between its versions."""
    return hasattr(error, "format_message")


def print_error(message: str) -> None:
    """Print one line on stderr."""
    if len(message) > MOST_CHARACTERS:  # of what was typed, between what tells where and why
        half = MOST_CHARACTERS // 2
        message = f"{message[:half]} … {message[-half:]}"
    # It may repeat what was typed, and must not control the terminal with it.
    print(f"normlab: {printable(' '.join(message.split()))}", file=sys.stderr)


def signals_as_ctrl_c() -> list[int]:
    """Make another program's request to end, or a closed terminal, the same as Ctrl-C.

    The list gets the number of each such signal that comes.
    """
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        number = getattr(signal, name, None)
        # Under nohup it is ignored, and stays so.
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)
    return received
