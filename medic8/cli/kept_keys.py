"""``medic8 recoveries keys`` and ``backup``: what a replica had before it was copied to, and its way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.complete import ended_runs
from medic8.cli.exits import ExitCode

if TYPE_CHECKING:
    from medic8.model.recovery import Recovery

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run's id, or a recovery's, or its beginning; see medic8 recoveries list.",
        autocompletion=ended_runs,
    ),
]


def keys(ctx: typer.Context, run: Run, json: Json = False) -> int:
    """List the keys that a replica had otherwise before resync_replica copied everything to it."""
    from medic8.cli.render_saved import render_kept_keys
    from medic8.targets.valkey.kept_keys import kept_keys

    call = call_of(ctx, wants_json=json)
    recovery, packed = _saved(call, run)
    kept = kept_keys(packed)
    call.screen.show({"recovery": recovery.id, "keys": kept}, lambda: render_kept_keys(kept))
    return ExitCode.WELL


def backup(
    ctx: typer.Context,
    run: Run,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="TARGET",
            help="Whose backup it becomes; else the target that was healed. Of keys in its database only.",
            show_default=False,
        ),
    ] = "",
    json: Json = False,
) -> int:
    """Make a backup of those keys, for medic8 backup restore TARGET --backup ID."""
    from datetime import UTC, datetime

    from medic8.cli.render_backup import render_backup
    from medic8.errors import ConfigurationError
    from medic8.recovery import later
    from medic8.targets.valkey.backups import ValkeyBackups
    from medic8.targets.valkey.kept_keys import back_up_kept
    from medic8.targets.valkey.looks.key_sample import database_of

    call = call_of(ctx, wants_json=json)
    recovery, packed = _saved(call, run)
    target = call.settings.target(to) if to else later.target_of(recovery, call.settings.target)
    if target.kind != "valkey":
        raise ConfigurationError(f'--to: target "{target.name}" is of kind "{target.kind}" and has no keys')
    repository = ValkeyBackups().repository(target, call.settings.backups)
    made = back_up_kept(packed, repository, database=database_of(target.address), now=datetime.now(UTC))
    call.screen.show(made, lambda: render_backup(made))
    call.screen.say(
        f"medic8 backup restore {target.name} --backup {made.id} writes what is not there; "
        "with --overwrite also what differs"
    )
    return ExitCode.WELL


def _saved(call: Call, run: str) -> tuple[Recovery, bytes]:
    """
    A recovery, and the keys that it saved.

    Raises:
        ConfigurationError: it saved none, or is not known.
        RefusedError: retention has removed them.
        UndoError: they cannot be read here, or are not what was saved.
    """
    from pathlib import Path

    from medic8.errors import ConfigurationError
    from medic8.recovery import ended, saved_state
    from medic8.recovery.hand_over import saved_items
    from medic8.recovery.journal import Journal
    from medic8.targets.valkey.acts.resync import RESYNC

    journal = Journal(call.settings.journal_url)
    recovery = ended.find(journal, run)
    steps = [step for unit in recovery.plan.units for step in unit.steps]
    numbers = [number for number, step in enumerate(steps) if step.action == RESYNC]
    if not numbers or not recovery.saved_state:
        raise ConfigurationError(
            f"recovery {recovery.id} ({recovery.plan.strategy}) saved no keys of a replica, as "
            "resync_replica does"
        )
    recovery = ended.require_kept(journal, recovery.id)
    items = saved_items(recovery)
    folder = Path(recovery.saved_state)
    return recovery, b"".join(saved_state.value_of(folder, items[number]) or b"" for number in numbers)
