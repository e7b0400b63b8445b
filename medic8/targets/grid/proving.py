"""Pages of a damaged group as the rest of it proves them; the grid itself is not changed."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.targets.grid.errors import GridDamagedError
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.judgement import judge
from medic8.targets.grid.layout import role_name
from medic8.targets.grid.reading import read_group
from medic8.targets.valkey.conversation import Conversation


def prove_pages(
    talk: Conversation, manifest: Manifest, grid_key: int, group: int, places: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """
    The pages at *places* (member and number) of *group*.

    Raises:
        GridDamagedError: nothing proves what one of them must have been.
    """
    judgement = judge(read_group(talk, manifest, group), grid_key, manifest.layout.members(group))
    for role, page in places:
        if not judgement.is_known[role, page]:
            where = f"{role_name(group, role)}, page {page}"
            raise GridDamagedError(
                f"grid {manifest.name!r}, {where}: damaged, and nothing proves what it was", group, where
            )
    return {(role, page): judgement.pages[role, page].tobytes() for role, page in places}
