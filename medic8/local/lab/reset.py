"""Make the lab as good as new."""

from __future__ import annotations

from collections.abc import Callable

import valkey

from medic8.local.lab.clearing import OWN, clear
from medic8.model.frozen import Frozen
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.grid import Grid, Source
from medic8.targets.grid.manifest import read_manifest

#: Layers of a grid that was not there before: 256 blocks, four in each parity group.
DEPTH = 8

_AT_ONCE = 1000
_DEPTH = f"{OWN}depth"


class LabReset(Frozen):
    """
    What was made anew.

    Attributes:
        grid: Name of the grid.
        depth: Its layers.
        blocks: How many data blocks it has; all are filled.
        taken_back: What of the faults was ended and put back, one line each.
    """

    grid: str
    depth: int
    blocks: int
    taken_back: tuple[str, ...] = ()


def reset(
    client: valkey.Valkey,
    name: str,
    content: Source,
    *,
    depth: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> LabReset:
    """
    Create the grid *name* anew, fill it, and take back what faults have done to the server.

    Actors must have ended, see `medic8.local.lab.actors.end_all`.

    Args:
        client: To the lab's server.
        name: Of the grid.
        content: What to fill it with.
        depth: Its layers; None is as many as before the lab made it deeper, and `DEPTH` if it was not there.
        on_progress: Called with groups done and groups in all.
    """
    depth = _depth(client, name) if depth is None else depth
    taken_back = clear(client)
    remove_grid(client, name)
    grid = Grid.create(client, name, depth)
    grid.fill(content, on_progress=on_progress)
    return LabReset(grid=name, depth=depth, blocks=grid.layout.blocks, taken_back=taken_back)


def remove_grid(client: valkey.Valkey, name: str) -> None:
    """Delete every key of the grid called *name*."""
    for pattern in (f"m8:{{{name}}}:*", f"m8:{{{name}/*}}:*"):
        found: list[bytes] = list(client.scan_iter(match=pattern, count=_AT_ONCE))
        for start in range(0, len(found), _AT_ONCE):
            client.unlink(*found[start : start + _AT_ONCE])


def remember_depth(client: valkey.Valkey, name: str, depth: int) -> None:
    """Have the server remember how many layers the grid *name* had before the lab made it deeper."""
    client.set(f"{_DEPTH}:{name}", depth, nx=True)


def _depth(client: valkey.Valkey, name: str) -> int:
    remembered = client.get(f"{_DEPTH}:{name}")
    if isinstance(remembered, bytes):
        return int(remembered)
    try:
        return read_manifest(client, name).manifest.depth
    except NotAGridError:
        return DEPTH
