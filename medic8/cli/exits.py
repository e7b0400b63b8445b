"""What the exit codes mean."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from medic8.errors import ConfigurationError, UnreachableError

if TYPE_CHECKING:
    from medic8.model.report import DiagnosticReport


class ExitCode(IntEnum):
    """The exit code of every command."""

    WELL = 0  #: healthy, resolved, or simply done
    NOT_WELL = 1  #: issues found, not resolved, refused or failed
    USAGE = 2  #: the call or the configuration is wrong; nothing was read or changed
    UNREACHABLE = 3  #: the target did not answer or did not let us in
    INTERRUPTED = 130  #: Ctrl-C


#: The same for ``--help``.
EPILOG = (
    "Exit codes: 0 healthy or resolved; 1 issues found, or not resolved; 2 usage or configuration; "
    "3 target unreachable; 130 interrupted."
)


def exit_for(error: Exception) -> ExitCode:
    """The exit code that *error* ends the program with."""
    if isinstance(error, ConfigurationError):
        return ExitCode.USAGE
    if isinstance(error, UnreachableError):
        return ExitCode.UNREACHABLE
    return ExitCode.NOT_WELL


def exit_after(report: DiagnosticReport) -> ExitCode:
    """The exit code of a command that leaves the target as *report* says."""
    if report.is_healthy:
        return ExitCode.WELL
    return ExitCode.UNREACHABLE if report.analysis.health == "unreachable" else ExitCode.NOT_WELL
