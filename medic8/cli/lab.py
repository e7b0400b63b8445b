"""``medic8 lab``: break the local stack's grid for real, and make it as good as new."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import fault_names, target_names
from medic8.cli.exits import EPILOG, ExitCode
from medic8.cli.grid_target import grid_target

if TYPE_CHECKING:
    import valkey
    from rich.console import RenderableType

    from medic8.local.lab.breakage import Breakage
    from medic8.local.lab.reset import LabReset
    from medic8.model.target import SettingRule, Target

LabTarget = Annotated[
    str, typer.Option(help="A target on the lab's own server.", autocompletion=target_names)
]

#: Seeds are drawn below this, so that they can be typed.
_SEEDS = 1_000_000

_SETTING = "setting_out_of_range"


def build_lab() -> typer.Typer:
    """Everything that ``medic8 lab`` understands."""
    app = typer.Typer(
        name="lab",
        help="Break the local stack's grid for real, to see what Medic8 does about it.",
        no_args_is_help=True,
    )
    app.command("break", epilog=EPILOG)(break_)
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
    import secrets

    from medic8.local.lab.bench import Bench
    from medic8.local.lab.faults import fault_named, make

    call = call_of(ctx, wants_json=json)
    chosen = fault_named(fault)
    found = call.settings.target(target)
    if fault != _SETTING:
        grid_target(call, target)
    with _lab(call, found) as client:
        bench = Bench(client, found.grid_name, _rules(call, found))
        seed = secrets.randbelow(_SEEDS) if seed is None else seed
        breakage = make(chosen, bench, target=target, seed=seed, strength=strength)
    shows = target if fault != _SETTING else _watcher(call, found)
    call.screen.show(breakage, lambda: _render_breakage(breakage, shows))
    return ExitCode.WELL


def list_(ctx: typer.Context, json: Json = False) -> int:
    """List what can be broken, and what heals it."""
    from medic8.local.lab.faults import FAULTS

    call = call_of(ctx, wants_json=json)
    listed = [
        {
            "name": fault.name,
            "summary": fault.summary,
            "strength": fault.strength,
            "default": fault.default,
            "healed_by": fault.healed_by,
        }
        for fault in FAULTS.values()
    ]
    call.screen.show({"faults": listed}, _render_faults)
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
    """Create the lab's grid anew, fill it with sample waves, and put its server's settings back."""
    from medic8.cli.sample_waves import sample_block
    from medic8.local.lab.reset import reset as make_anew

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    with _lab(call, found) as client, call.screen.progress(f"filling grid {name}", "groups") as moved:
        made = make_anew(client, name, lambda number: sample_block(0, number), depth=depth, on_progress=moved)
    call.screen.show(made, lambda: _render_reset(made, target))
    return ExitCode.WELL


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


def _watcher(call: Call, target: Target) -> str:
    """The target that the settings of the server of *target* are diagnosed under; empty if there is none."""
    here = (other for other in call.settings.targets if other.address == target.address)
    return next((other.name for other in here if other.setting), "")


def _render_breakage(breakage: Breakage, shows: str) -> Iterator[RenderableType]:
    from medic8.cli.render import bullets, line, section, text

    yield line(
        text(breakage.target, "bold"), text(f"broken by {breakage.fault}", "red"), f"seed {breakage.seed}"
    )
    yield bullets(breakage.what)
    if shows:
        yield section("Next", text(f"medic8 diagnose {shows}"), text(f"medic8 heal {shows}"))


def _render_faults() -> Iterator[RenderableType]:
    from medic8.cli.render import facts, section, table, text
    from medic8.local.lab.faults import FAULTS

    listed = table("fault", "what it does", "strength", "healed by")
    for fault in FAULTS.values():
        size = text("always 1" if fault.strength == "1" else f"{fault.strength}, {fault.default} by default")
        listed.add_row(text(fault.name, "bold"), text(fault.summary), size, text(fault.healed_by))
    yield listed
    yield section(
        "Next",
        facts(
            (
                ("medic8 lab reset", "makes the grid, or makes it anew"),
                ("medic8 lab break flip_bits --strength 20", "breaks it"),
                ("medic8 backup create lab", "before what parity cannot heal"),
            )
        ),
    )


def _render_reset(made: LabReset, target: str) -> Iterator[RenderableType]:
    from medic8.cli.render import bullets, line, section, text

    yield line(
        text(target, "bold"),
        text("as good as new", "green"),
        f"grid {made.grid}, {made.depth} layers, {made.blocks:,} blocks",
    )
    if made.settings:
        yield bullets(made.settings)
    yield section("Next", text("medic8 lab list"))
