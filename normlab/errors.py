"""The errors a user sees as one line."""

import sys


class NormlabError(Exception):
    """A failure with a message meant for a person; `exit_code` is what the command line returns."""

    exit_code = 3


class ConfigError(NormlabError):
    """A setting that cannot be: `model.depth=21: what is wrong; how to mend it`."""

    exit_code = 2


class MissingPluginError(ConfigError):
    """A run whose plugin is not loaded."""


class DataError(NormlabError):
    """A data file that is missing, damaged or not what its name says."""

    exit_code = 2


class RecordError(NormlabError):
    """A results folder that cannot be written, or a run folder that cannot be read."""

    exit_code = 2


class RunError(NormlabError):
    """A failure while a run was going on, such as too little memory."""


class BusyError(NormlabError):
    """A run that another live process is making just now."""

    exit_code = 2


class InterruptedRunError(NormlabError):
    """A person's Ctrl-C."""

    exit_code = 130


def check_platform() -> None:
    """Raise ConfigError on Windows.

    Its locks would kill who holds them, where `os.kill` with signal 0 ends a process, and need
    writes at an offset and renaming of open files, which it does not have.
    """
    if sys.platform == "win32":
        raise ConfigError("Windows: normlab runs on Linux and macOS; use it within WSL")
