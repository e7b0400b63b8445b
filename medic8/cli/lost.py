"""``medic8 grid lost`` and ``refill``: what was given up, and filling it again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medic8.cli.call import Call, Json, call_of
from medic8.cli.exits import ExitCode
from medic8.cli.grid_target import GridName, grid_target
from medic8.errors import ConfigurationError, RefusedError

if TYPE_CHECKING:
    import valkey

    from medic8.model.lost import LostList, LostPage
    from medic8.model.target import Target
    from medic8.targets.grid.cells_file import Cells, Indices
    from medic8.targets.grid.format import Manifest
    from medic8.targets.grid.refill import Place

_PAGES = 16


def lost(
    ctx: typer.Context,
    target: GridName,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export", metavar="FILE", help="Write the list to a new .csv or .json file.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> int:
    """List the cells that were given up; exit code 1 if a part of the list cannot be read."""
    from medic8.cli.render_lost import render_lost
    from medic8.targets.grid.lost import export_lost
    from medic8.targets.valkey.client import connection

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    with connection(found.address, timeout_s=found.timeout_s) as client:
        listed = _read(client, name)[1]
    if export is not None:
        export_lost(listed, export)
        call.screen.say(f"wrote {len(listed.pages)} pages to {export}")
    call.screen.show(listed, lambda: render_lost(listed))
    return ExitCode.NOT_WELL if listed.problems else ExitCode.WELL


def refill(
    ctx: typer.Context,
    target: GridName,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="Cells (.npz, .jsonl); with --dismiss a list (.csv, .json).",
            show_default=False,
        ),
    ] = None,
    from_backup: Annotated[
        str | None, typer.Option(metavar="ID", help="Take the cells from this backup.", show_default=False)
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also where somebody has written since.")
    ] = False,
    dismiss: Annotated[
        bool, typer.Option("--dismiss", help="Take pages off the list and leave their cells as they are.")
    ] = False,
    group: Annotated[
        list[int] | None,
        typer.Option(help="With --dismiss: the whole list of this parity group.", show_default=False),
    ] = None,
    json: Json = False,
) -> int:
    """Fill cells that were given up with cells that you have, and take their pages off the list."""
    from medic8.targets.valkey.client import connection

    call = call_of(ctx, wants_json=json)
    found, name = grid_target(call, target)
    _check_options(file, from_backup, group, is_dismissal=dismiss, is_overwriting=overwrite)
    with connection(found.address, timeout_s=found.timeout_s) as client:
        manifest, listed = _read(client, name)
        if dismiss:
            return _dismiss(call, client, manifest, file, group or [])
        cells, passed_over = (
            _from_file(file, manifest, listed)
            if file is not None
            else _from_backup(call, found, manifest, listed, str(from_backup))
        )
        return _refill(call, client, manifest, cells, passed_over, overwrite=overwrite)


def _check_options(
    file: Path | None,
    from_backup: str | None,
    group: list[int] | None,
    *,
    is_dismissal: bool,
    is_overwriting: bool,
) -> None:
    if is_dismissal:
        if from_backup is not None or is_overwriting:
            raise ConfigurationError(
                "--dismiss fills nothing: it goes with neither --from-backup nor --overwrite"
            )
        if (file is None) == (not group):
            raise ConfigurationError(
                "--dismiss needs either a FILE that medic8 grid lost --export wrote, or --group, and not both"
            )
        return
    if group:
        raise ConfigurationError("--group goes with --dismiss only")
    if (file is None) == (from_backup is None):
        raise ConfigurationError("cells come from either a FILE or --from-backup ID; name one of the two")


def _read(client: valkey.Valkey, name: str) -> tuple[Manifest, LostList]:
    from medic8.targets.grid.lost import read_lost
    from medic8.targets.grid.manifest import read_manifest
    from medic8.targets.valkey.conversation import conversation

    manifest = read_manifest(client, name).manifest
    with conversation(client) as talk:
        return manifest, read_lost(talk, manifest)


def _dismiss(
    call: Call, client: valkey.Valkey, manifest: Manifest, file: Path | None, groups: list[int]
) -> int:
    from medic8.cli.render_lost import render_dismissed
    from medic8.targets.grid.lost import import_lost
    from medic8.targets.grid.refill import dismiss, require_same
    from medic8.targets.grid.write import patient

    wanted: dict[int, dict[Place, str] | None] = dict.fromkeys(groups)
    if file is not None:
        for group, pages in _by_group(import_lost(file)).items():
            losses = {place: page.recovery for place, page in pages}
            require_same(client, manifest, group, losses)
            wanted[group] = losses
    for group in wanted:
        manifest.layout.check_group(group)
    done: dict[int, int] = {}
    try:
        for group, accepted in wanted.items():
            done[group] = dismiss(client, manifest, group, accepted, patient())
    except RefusedError as exc:
        raise RefusedError(
            f"{exc}; {sum(done.values())} pages of other groups are off the list by now"
        ) from exc
    document = {"dismissed": sum(done.values()), "groups": done}
    call.screen.show(document, lambda: render_dismissed(done))
    return ExitCode.WELL


def _from_file(file: Path, manifest: Manifest, listed: LostList) -> tuple[tuple[Indices, Cells], int]:
    from medic8.targets.grid.cells_file import read_cells_file

    most = sum(page.cells.count for page in listed.pages)
    return read_cells_file(file, manifest.layout, most=most), 0


def _from_backup(
    call: Call, target: Target, manifest: Manifest, listed: LostList, backup_id: str
) -> tuple[tuple[Indices, Cells], int]:
    """The cells that the backup has of the listed pages, and how many of the pages it has not."""
    import numpy as np

    from medic8.targets.grid.format import CELL
    from medic8.targets.grid.refill import cells_of_pages, is_last_state
    from medic8.targets.grid.repairs import pages_of_backup

    del target
    indices, content = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=CELL)]
    filled = 0
    for group, pages in _by_group(listed.pages).items():
        places = [place for place, _ in pages]
        offered = pages_of_backup(manifest, group, call.settings.backups, backup_id, places)
        # A backup from after the loss holds zeros there: no cells to go back to, but what was given up.
        usable = {
            place: offered[place][0]
            for place, page in pages
            if place in offered
            and (any(offered[place][0]) or is_last_state(offered[place][0], manifest, page))
        }
        if usable:
            numbers, octets = cells_of_pages(usable, group)
            indices.append(numbers)
            content.append(octets.reshape(-1).view(CELL))
            filled += len(usable)
    return (np.concatenate(indices), np.concatenate(content)), len(listed.pages) - filled


def _refill(
    call: Call,
    client: valkey.Valkey,
    manifest: Manifest,
    cells: tuple[Indices, Cells],
    passed_over: int,
    *,
    overwrite: bool,
) -> int:
    from medic8.cli.render_lost import render_refilled
    from medic8.targets.grid.refill import refill as fill
    from medic8.targets.grid.write import patient

    with call.screen.progress(f"refilling grid {manifest.name}", "groups") as moved:
        done = fill(client, manifest, *cells, patient(), overwrite=overwrite, on_progress=moved)
    document = {"refilled": [each.model_dump() for each in done], "passed_over_pages": passed_over}
    call.screen.show(document, lambda: render_refilled(done, passed_over))
    return ExitCode.WELL if done and not passed_over else ExitCode.NOT_WELL


def _by_group(pages: Iterable[LostPage]) -> dict[int, list[tuple[Place, LostPage]]]:
    from medic8.targets.grid.layout import group_of, member_of

    found: dict[int, list[tuple[Place, LostPage]]] = {}
    for page in pages:
        found.setdefault(group_of(page.block), []).append(((member_of(page.block), page.page), page))
    return found
