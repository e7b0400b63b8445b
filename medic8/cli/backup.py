"""``medic8 backup``: back targets up, look at their backups, restore from them, and prune them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, Override, call_of
from medic8.cli.diagnose import TargetName
from medic8.cli.exits import EPILOG, ExitCode

if TYPE_CHECKING:
    from medic8.backups.repository import Repository

BackupId = Annotated[
    str,
    typer.Option(
        "--backup", metavar="ID", help="Which backup; else the newest complete one.", show_default=False
    ),
]

#: Block numbers and ranges of them, such as ``3,17-20``; int() and len() do not take any number of digits.
_BLOCKS = re.compile(r"\d{1,12}(-\d{1,12})?(,\d{1,12}(-\d{1,12})?)*", re.ASCII)

#: So many are a flow run's parameters of 300 KB; Prefect takes 512.
_MOST_BLOCKS = 1 << 15


def build_backup() -> typer.Typer:
    """Everything that ``medic8 backup`` understands."""
    app = typer.Typer(
        name="backup",
        help="Back targets up, restore from backups, and look after them.",
        no_args_is_help=True,
    )
    app.command("create", epilog=EPILOG)(create)
    app.command("list", epilog=EPILOG)(list_)
    app.command("verify", epilog=EPILOG)(verify)
    app.command("restore", epilog=EPILOG)(restore)
    app.command("prune", epilog=EPILOG)(prune)
    app.command("delete", epilog=EPILOG)(delete)
    app.command("new-key", epilog=EPILOG)(new_key)
    return app


def create(
    ctx: typer.Context,
    target: TargetName,
    full: Annotated[
        bool, typer.Option("--full", help="Read and write everything, whatever earlier backups have.")
    ] = False,
    prefix: Annotated[
        str, typer.Option(help="Of a server, only keys that begin so.", show_default=False)
    ] = "",
    json: Json = False,
) -> int:
    """Back a target up while others write to it; exit code 1 if a part of it could not be proven."""
    from medic8.cli.render_backup import render_backup

    call = call_of(ctx, wants_json=json)
    name = call.settings.target(target).name
    door = call.door
    with call.screen.progress(f"backing {name} up", "") as moved:
        backup = door.back_up(name, full=full, prefix=prefix, progress=moved)
    call.screen.show(backup, lambda: render_backup(backup))
    return ExitCode.WELL if backup.is_complete else ExitCode.NOT_WELL


def list_(ctx: typer.Context, target: TargetName, json: Json = False) -> int:
    """List the backups of a target, the newest first; needs neither Prefect nor the target."""
    from datetime import UTC, datetime

    from medic8.cli.render_backup import render_backups

    call = call_of(ctx, wants_json=json)
    listed = _repository(call, target).list(datetime.now(UTC))
    call.screen.show(listed, lambda: render_backups(listed))
    return ExitCode.WELL


def verify(ctx: typer.Context, target: TargetName, backup: BackupId = "", json: Json = False) -> int:
    """Read all of a backup again and compare it with its digests; exit code 1 if it is damaged."""
    from medic8.cli.render_backup import render_verified

    call = call_of(ctx, wants_json=json)
    name = call.settings.target(target).name
    door = call.door
    with call.screen.progress(f"verifying a backup of {name}", "") as moved:
        report = door.verify_backup(name, backup, moved)
    call.screen.show(report, lambda: render_verified(report))
    return ExitCode.WELL if report.is_sound else ExitCode.NOT_WELL


def restore(
    ctx: typer.Context,
    target: TargetName,
    backup: BackupId = "",
    blocks: Annotated[
        str, typer.Option(metavar="LIST", help="Only these blocks of a grid: 3,17-20.", show_default=False)
    ] = "",
    key: Annotated[
        list[str] | None,
        typer.Option(help=r"Only this key of a server; may be repeated. \xNN is a byte.", show_default=False),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Only keys that begin so.", show_default=False)] = "",
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace what differs from the backup, too; it is backed up before."
        ),
    ] = False,
    into: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Restore into a new grid of this name instead.", show_default=False
        ),
    ] = "",
    override: Override = "",
    json: Json = False,
) -> int:
    """Write what is lost or missing from a backup; what is newer stays, unless you say --overwrite."""
    from medic8.cli.render_backup import render_restored
    from medic8.model.backup import RestoreWish

    call = call_of(ctx, wants_json=json)
    name = call.settings.target(target).name
    wish = RestoreWish(
        backup=backup,
        blocks=block_numbers(blocks),
        names=tuple(key or ()),
        prefix=prefix,
        overwrite=overwrite,
        into=into,
    )
    door = call.door
    with call.screen.progress(f"restoring {into or name}", "") as moved:
        report = door.restore_backup(name, wish, moved, override=override)
    call.screen.show(report, lambda: render_restored(report))
    return ExitCode.WELL if report.is_whole else ExitCode.NOT_WELL


def prune(
    ctx: typer.Context,
    target: TargetName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    json: Json = False,
) -> int:
    """Remove the backups that no rule of retention keeps; see "backups" in the configuration."""
    from medic8.cli.render_backup import render_pruned

    call = call_of(ctx, wants_json=json)
    name = call.settings.target(target).name
    door = call.door
    with call.screen.working(f"pruning the backups of {name}"):
        report = door.prune_backups(name, dry_run=dry_run)
    call.screen.show(report, lambda: render_pruned(report))
    return ExitCode.WELL


def delete(
    ctx: typer.Context,
    target: TargetName,
    backup: Annotated[str, typer.Argument(metavar="ID", help="Which backup; see medic8 backup list.")],
    json: Json = False,
) -> int:
    """Delete one backup, also a damaged one; what only it needs goes with the next prune."""
    from datetime import UTC, datetime

    from medic8.backups.presence import Doing
    from medic8.backups.repository import new_backup_id

    call = call_of(ctx, wants_json=json)
    repository = _repository(call, target)
    turn_id = new_backup_id(datetime.now(UTC))
    with repository.turn(Doing.PRUNE, turn_id, clock=lambda: datetime.now(UTC)) as turn:
        repository.require(backup)
        repository.delete(backup)
        turn.clear_up()
    call.screen.show({"deleted": backup}, tuple)
    call.screen.say(f"backup {backup} is deleted; medic8 backup prune {target} frees what only it needed")
    return ExitCode.WELL


def new_key(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to write it; must not exist.")],
    json: Json = False,
) -> int:
    """Make a key for encrypted backups; keep a copy elsewhere, since nobody can read them without it."""
    import os
    import secrets

    from medic8.backups.place import KEY_BYTES
    from medic8.errors import ConfigurationError

    call = call_of(ctx, wants_json=json)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as written:
            written.write(secrets.token_hex(KEY_BYTES) + "\n")
    except OSError as exc:
        raise ConfigurationError(f"{file}: no key can be written there: {exc.strerror}") from exc
    call.screen.show({"key_file": str(file)}, tuple)
    call.screen.say(
        f'wrote {file}; put key_file = "{file.absolute()}" under [backups], and keep a copy elsewhere'
    )
    return ExitCode.WELL


def block_numbers(text: str) -> tuple[int, ...]:
    """
    Blocks by number and range.

    Raises:
        ConfigurationError: they are spelled in another way, or a range ends before it begins.
    """
    from medic8.errors import ConfigurationError

    if not text:
        return ()
    if not _BLOCKS.fullmatch(text):
        raise ConfigurationError(f"--blocks {text!r}: expected numbers and ranges, such as 3,17-20")
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if not numbers or len(found) + len(numbers) > _MOST_BLOCKS:
            raise ConfigurationError(
                f"--blocks {part!r}: a range goes upwards, and the limit is {_MOST_BLOCKS} blocks"
            )
        found += numbers
    return tuple(dict.fromkeys(found))


def _repository(call: Call, target: str) -> Repository:
    from medic8.errors import ConfigurationError
    from medic8.targets.registry import kind_named

    found = call.settings.target(target)
    backups = kind_named(found.kind).backups
    if backups is None:
        raise ConfigurationError(f'target "{found.name}" is of kind "{found.kind}", which is not backed up')
    return backups.repository(found, call.settings.backups)
