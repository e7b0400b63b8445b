"""The command line."""

from __future__ import annotations


def main() -> None:
    """Run the command line and leave with its exit code."""
    import sys

    from medic8.cli.run import run

    sys.exit(run(sys.argv[1:]))
