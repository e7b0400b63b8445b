"""``medic8 demo``: damage a real grid, heal it, compare every bit, and undo a recovery that must fail."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.exits import ExitCode

if TYPE_CHECKING:
    from medic8.local.demo.report import DemoReport, Phase
    from medic8.local.demo.stage import Stage

#: Layers of 2 MiB.
_DEPTH, _LARGE_DEPTH = 32, 128

_SEEDS = 1_000_000


def demo(
    ctx: typer.Context,
    large: Annotated[bool, typer.Option("--large", help="A grid of 256 MiB instead of 64.")] = False,
    keep: Annotated[bool, typer.Option("--keep/--no-keep", help="Keep the demo's grid afterwards.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Equal seeds break the same; else chance decides.", show_default=False)
    ] = None,
    json: Json = False,
) -> int:
    """Damage a real grid, diagnose and heal it, compare it bit for bit; undo a recovery that must fail."""
    import secrets
    import time

    from medic8.cli.render_demo import render_ending

    began_s = time.monotonic()
    call = call_of(ctx, wants_json=json)
    seed = secrets.randbelow(_SEEDS) if seed is None else seed
    with _ending_at_sigterm(), _raised(call, _LARGE_DEPTH if large else _DEPTH, seed, keep) as stage:
        report = _play(stage, began_s)
        call.screen.show(report, lambda: render_ending(report, stage))
    return ExitCode.WELL if report.is_proven else ExitCode.NOT_WELL


@contextlib.contextmanager
def _raised(call: Call, depth: int, seed: int, is_kept: bool) -> Iterator[Stage]:
    """Bring up all that the demo is played on; the stack stays up."""
    import time

    from medic8.cli.door import PrefectDoor, prepare, way_to
    from medic8.cli.lab_configuration import write_lab_configuration
    from medic8.cli.render_demo import told_stack
    from medic8.cli.sample_waves import sample_block
    from medic8.local import stack
    from medic8.local.demo import site
    from medic8.local.demo.pages import Pages
    from medic8.local.demo.stage import Stage
    from medic8.settings import default_home, load_settings

    home = default_home(call.environ)
    began_s = time.monotonic()
    audience = _Terminal(call)
    with audience.working("Bring up PostgreSQL, Prefect and Valkey"):
        status = stack.up(home, progress=call.screen.say, environment=call.environ)
        write_lab_configuration(home, str(status.valkey_url))
        folder = site.demo_folder(home)
    with site.only_demo(folder):
        call.config = site.write_configuration(folder, str(status.valkey_url))
        settings = load_settings(call.config, environ=call.environ)
        access = way_to(call, status)
        prepare(call.environ, settings, access, is_debug=call.is_debug)
        stage = Stage(
            folder=folder,
            settings=settings,
            valkey_url=str(status.valkey_socket_url),
            flows=PrefectDoor(access),
            audience=audience,
            pages=Pages(access, status.prefect_ui_url),
            waves=lambda number: sample_block(seed, number),
            depth=depth,
            seed=seed,
            is_kept=is_kept,
        )
        stage.add("Bring up PostgreSQL, Prefect and Valkey", told_stack(status), time.monotonic() - began_s)
        yield stage


def _play(stage: Stage, began_s: float) -> DemoReport:
    from medic8.local.demo.play import play

    return play(stage, began_s=began_s)


class _Terminal:
    """Tells the story as it goes; with ``--json`` only that it goes on."""

    def __init__(self, call: Call) -> None:
        self._screen = call.screen

    def working(self, title: str) -> AbstractContextManager[None]:
        """Show that the phase *title* is under way."""
        return self._screen.working(title)

    def told(self, number: int, phase: Phase) -> None:
        """Show what happened in a phase."""
        from medic8.cli.render_demo import render_phase

        if self._screen.wants_json:
            self._screen.say(f"{number}. {phase.title}: {phase.duration_s:.1f} s")
        else:
            self._screen.show(phase, lambda: render_phase(number, phase))


@contextlib.contextmanager
def _ending_at_sigterm() -> Iterator[None]:
    """Have SIGTERM end the demo as Ctrl-C does: with everything cleared away."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
