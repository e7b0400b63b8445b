"""Scenes of replication: a primary whose replica really lost its place again and again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from medic8.model.target import Target
from tests.crash.scenes import Expected, Scene
from tests.crash.settings_scene import SettingsScene
from tests.replicas import cut_off, is_in_step, pair, until, writing

_SMALL = 64 << 10
_FOUND = {"repl-backlog-size": str(_SMALL)}
_THEIRS = {"repl-backlog-size": range(9 << 20, 10 << 20, 4096)}
_CUTS = 7


@contextlib.contextmanager
def _resized(folder: Path) -> Iterator[Scene]:
    """Each time that the replica is cut off, more is written meanwhile than the backlog holds."""
    with pair(folder, repl_backlog_size=str(_SMALL)) as (primary, replica):
        target = Target(name="server", kind="valkey", url=primary.url, mode="act", allow=("resize_backlog",))
        for _ in range(_CUTS):
            cut_off(primary.url, missed=3 * _SMALL)
            until(lambda: is_in_step(primary.url, replica.url))
        with writing(primary.url, size=1000, per_s=100):
            scene = SettingsScene(target, folder, found=_FOUND, theirs=_THEIRS)
        yield scene


SCENES: dict[str, Expected] = {"resize_backlog": Expected(_resized)}
