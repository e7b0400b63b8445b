"""The command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line and leave with its exit code."""
    import sys

    from medic8.unloaded import leave_out

    leave_out()  # the gateway is this process, and stays

    from medic8.cli.leaving import leave
    from medic8.cli.run import run

    leave(run(sys.argv[1:]))
