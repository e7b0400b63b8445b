"""``medic8 lab``: break the local stack's grid and server for real, and make them as good as new."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import fault_names, state_names, target_names
from medic8.cli.exits import EPILOG, ExitCode
from medic8.cli.grid_target import grid_target

if TYPE_CHECKING:
    import valkey

    from medic8.local.lab.breakage import Breakage, Fault, State
    from medic8.model.target import SettingRule, Target

LabTarget = Annotated[
    str, typer.Option(help="A target on the lab's own server.", autocompletion=target_names)
]

#: Seeds are drawn below this, so that they can be typed.
_SEEDS = 1_000_000


def build_lab() -> typer.Typer:
    """Everything that ``medic8 lab`` understands."""
    app = typer.Typer(
        name="lab",
        help="Break the local stack's grid and server for real, to see what Medic8 does about it.",
        no_args_is_help=True,
    )
    app.command("break", epilog=EPILOG)(break_)
    app.command(epilog=EPILOG)(stage)
    app.command("list", epilog=EPILOG)(list_)
    app.command(epilog=EPILOG)(reset)
    return app


def break_(
    ctx: typer.Context,
    fault: Annotated[
        str,
        typer.Argument(metavar="FAULT", help="What to do; see medic8 lab list.", autocompletion=fault_names),
    ],
    target: LabTarget = "lab",
    strength: Annotated[
        int | None, typer.Option(help="How much of it; see medic8 lab list.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Equal seeds break the same; else chance decides.", show_default=False)
    ] = None,
    json: Json = False,
) -> int:
    """Break a target behind Medic8's back; works on the local stack's own server only."""
    from medic8.cli.render_lab import render_breakage
    from medic8.local.lab.faults import fault_named

    call = call_of(ctx, wants_json=json)
    chosen = fault_named(fault)
    found = call.settings.target(target)
    if chosen.part == "grid":
        grid_target(call, target)
    breakage = _made(call, chosen, found, strength=strength, seed=seed)
    shows = target if chosen.part == "grid" else _watcher(call, found, chosen)
    call.screen.show(breakage, lambda: render_breakage(breakage, chosen, shows))
    return ExitCode.WELL


def stage(
    ctx: typer.Context,
    state: Annotated[
        str,
        typer.Argument(metavar="STATE", help="What to do; see medic8 lab list.", autocompletion=state_names),
    ],
    target: LabTarget = "lab",
    strength: Annotated[
        int | None, typer.Option(help="How much of it; see medic8 lab list.", show_default=False)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Equal seeds do the same; else chance decides.", show_default=False)
    ] = None,
    json: Json = False,
) -> int:
    """Bring about what looks like a fault and is none, to see that Medic8 leaves it alone."""
    from medic8.cli.render_lab import render_state
    from medic8.local.lab.states import state_named

    call = call_of(ctx, wants_json=json)
    chosen = state_named(state)
    found = call.settings.target(target)
    if chosen.part == "grid":
        grid_target(call, target)
    staged = _made(call, chosen, found, strength=strength, seed=seed)
    shows = target if chosen.part == "grid" else _watcher(call, found, chosen)
    call.screen.show(staged, lambda: render_state(staged, chosen, shows))
    return ExitCode.WELL


def list_(ctx: typer.Context, json: Json = False) -> int:
    """List what can be broken and what heals it, what only looks broken, and which actors run."""
    from medic8.cli.render_lab import render_list
    from medic8.local.lab.actors import recorded
    from medic8.local.lab.faults import FAULTS
    from medic8.local.lab.states import STATES

    call = call_of(ctx, wants_json=json)
    faults, states = tuple(FAULTS.values()), tuple(STATES.values())
    actors = tuple(actor for actor in recorded(call.settings.home) if actor.is_alive)
    listed = {
        "faults": [
            {
                "name": fault.name,
                "part": fault.part,
                "summary": fault.summary,
                "strength": fault.strength,
                "default": fault.default,
                "healed_by": fault.healed_by,
                "advice": fault.advice,
            }
            for fault in faults
        ],
        "states": [
            {
                "name": state.name,
                "part": state.part,
                "summary": state.summary,
                "strength": state.strength,
                "default": state.default,
                "looks_like": state.looks_like,
            }
            for state in states
        ],
        "actors": [{"act": each.act, "pid": each.identity.pid, "url": each.url} for each in actors],
    }
    call.screen.show(listed, lambda: render_list(faults, states, actors))
    return ExitCode.WELL


def reset(
    ctx: typer.Context,
    target: LabTarget = "lab",
    depth: Annotated[
        int | None,
        typer.Option(
            min=1, max=1024, help="Layers; else as many as before, or 8 if new.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> int:
    """End every fault of the lab's server, and create the lab's grid anew, filled with sample waves."""
    from medic8.cli.render_lab import render_reset
    from medic8.cli.sample_waves import sample_block
    from medic8.local import stack
    from medic8.local.lab.actors import end_all
    from medic8.local.lab.clearing import rouse
    from medic8.local.lab.reset import reset as make_anew

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    # First of all: they may keep everybody else from the server, and it may be gone.
    ended = end_all(call.settings.home)
    url = stack.status(call.settings.home, environment=call.environ).valkey_url
    if url is not None:
        ended += rouse(url, timeout_s=found.timeout_s)
    with _lab(call, found) as client, call.screen.progress(f"filling grid {name}", "groups") as moved:
        made = make_anew(client, name, lambda number: sample_block(0, number), depth=depth, on_progress=moved)
    made = made.model_copy(update={"taken_back": ended + made.taken_back})
    call.screen.show(made, lambda: render_reset(made, target))
    return ExitCode.WELL


def _made(
    call: Call, chosen: Fault | State, target: Target, *, strength: int | None, seed: int | None
) -> Breakage:
    import secrets

    from medic8.local.lab.actors import Troupe
    from medic8.local.lab.bench import Bench
    from medic8.local.lab.breakage import make

    with _lab(call, target) as client:
        troupe = Troupe(call.settings.home, target.address)
        bench = Bench(client, target.grid_name, _rules(call, target), troupe)
        seed = secrets.randbelow(_SEEDS) if seed is None else seed
        return make(chosen, bench, target=target.name, seed=seed, strength=strength)


@contextlib.contextmanager
def _lab(call: Call, target: Target) -> Iterator[valkey.Valkey]:
    """A connection to *target*, if it is on the lab's own server."""
    from medic8.local import stack
    from medic8.local.lab.server import lab_connection
    from medic8.targets.grid.errors import NotAGridError

    lab_url = stack.status(call.settings.home, environment=call.environ).valkey_url
    with lab_connection(target.address, lab_url, timeout_s=target.timeout_s) as client:
        try:
            yield client
        except NotAGridError as exc:
            raise NotAGridError(f'{exc}; "medic8 lab reset" creates and fills it') from exc


def _rules(call: Call, target: Target) -> tuple[SettingRule, ...]:
    """What the site asks of the settings of the server that *target* is on."""
    return target.setting or tuple(
        rule for other in call.settings.targets if other.address == target.address for rule in other.setting
    )


def _watcher(call: Call, target: Target, chosen: Fault | State) -> str:
    """
    The target that shows it; empty if there is none.

    Of the server of *target* the one that its settings are diagnosed under, of a process the lab's own, of
    the host this one. An endpoint is met at an address of its own.
    """
    if chosen.part == "endpoint":
        return ""
    if chosen.part == "process":
        from medic8.local.lab.acting.program_names import latest_address
        from medic8.local.lab.actors import FOLDER

        address = latest_address(call.settings.home.absolute() / FOLDER)
        return next((other.name for other in call.settings.targets if other.address == address), "")
    if chosen.part == "host":
        return next((other.name for other in call.settings.targets if other.kind == "host"), "")
    here = (other for other in call.settings.targets if other.address == target.address)
    return next((other.name for other in here if other.setting), "")
