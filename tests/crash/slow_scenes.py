"""Servers that are slow or at a limit, and what is exact about bringing them out of it."""

from __future__ import annotations

from typing import Any, cast

import valkey

from tests.crash.scenes import Expected
from tests.crash.settings_scene import OTHERS, Cast, scene_of

_LIMIT = 32 << 20


def _fill(client: valkey.Valkey) -> None:
    """Fill the server up to 94 % of its memory limit."""
    info = cast("dict[str, Any]", client.info("memory"))
    client.setrange("filler", int(_LIMIT * 0.94) - int(info["used_memory"]), b"x")


_MEMORY = Cast(
    strategy="raise_memory_limit",
    found={"maxmemory": str(_LIMIT)},
    good={"maxmemory": str(_LIMIT // 4 * 5)},
    theirs={"maxmemory": range(60 << 20, 70 << 20)},
    others=OTHERS,
    prepare=_fill,
)

SCENES: dict[str, Expected] = {each.strategy: Expected(scene_of(each)) for each in (_MEMORY,)}
