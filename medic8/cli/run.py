"""Run one call: parse it, do it, and turn every way it can end into a message and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING

import typer

from medic8.cli.app import build_app
from medic8.cli.call import Call
from medic8.cli.exits import ExitCode, exit_for
from medic8.cli.screen import Screen
from medic8.errors import Medic8Error

if TYPE_CHECKING:
    from medic8.cli.door import Door


def run(
    arguments: Sequence[str],
    *,
    open_door: Callable[[Call], Door] | None = None,
    environ: MutableMapping[str, str] = os.environ,
) -> int:
    """
    Do what *arguments* ask for.

    Args:
        arguments: Without the program's name.
        open_door: Opens the way to the flows; None = to Prefect.
        environ: The environment.
    Returns:
        The exit code.
    """
    wants_json = "--json" in arguments
    screen = Screen(sys.stdout, sys.stderr, wants_json=wants_json)
    call = Call(screen, open_door or _prefect_door, environ=environ)
    command = typer.main.get_command(build_app())
    try:
        code = command.main(list(arguments), prog_name="medic8", standalone_mode=False, obj=call)
    except typer.TyperException as exc:
        return _fail(call, wants_json, "UsageError", _usage_problem(exc), ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        code = ExitCode.INTERRUPTED
    except Medic8Error as exc:
        _trace(call)
        return _fail(call, wants_json, type(exc).__name__, str(exc), exit_for(exc))
    except Exception as exc:  # noqa: BLE001  # the last line of defence: a message instead of a traceback
        _trace(call)
        text = f"{type(exc).__name__}: {exc}; this should not happen, medic8 --debug shows where it did"
        return _fail(call, wants_json, "UnexpectedError", text, ExitCode.NOT_WELL)
    if code == ExitCode.INTERRUPTED:
        text = "interrupted"
        return _fail(call, wants_json, "Interrupted", text, code)
    return int(code or ExitCode.WELL)


def _prefect_door(call: Call) -> Door:
    from medic8.cli.door import open_door

    return open_door(call)


def _usage_problem(error: typer.TyperException) -> str:
    said = error.format_message()
    asked_for = getattr(getattr(error, "ctx", None), "command_path", "medic8")
    return f'{said} (see "{asked_for} --help")' if said else "a command is missing"


def _fail(call: Call, wants_json: bool, name: str, text: str, code: int) -> int:
    if wants_json:
        call.screen.wants_json = True
        call.screen.show({"error": {"name": name, "message": text, "exit_code": int(code)}}, tuple)
    else:
        call.screen.fail(text)
    return code


def _trace(call: Call) -> None:
    if call.is_debug:
        traceback.print_exc(file=sys.stderr)
