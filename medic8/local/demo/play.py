"""Play the whole demo, and say whether everything it claimed was true."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from medic8.local.demo import damage_and_healing, failure_and_undo
from medic8.local.demo.report import DemoReport, Page
from medic8.local.demo.site import GRID, SERVER, end_what_died
from medic8.local.demo.stage import Stage

_MIB_PER_LAYER = 2


def play(stage: Stage, *, began_s: float) -> DemoReport:
    """
    Play the demo on a stack that is up.

    Args:
        stage: What it is played on.
        began_s: When it began, by the monotonic clock.
    Raises:
        Medic8Error: something failed that the demo does not know how to go on after. Nothing that was
            started is left behind.
    """
    since = datetime.now(UTC)
    died = end_what_died(stage.settings)
    if died:
        with stage.phase("End what an earlier demo left half done") as scene:
            scene.say(*died)
    breakages, writer = damage_and_healing.play(stage)
    failure_and_undo.play(stage)
    shown = (
        ("the healing as a whole", f"heal {GRID}"),
        ("every step of it", f"recover {GRID} by rebuild_from_parity"),
        ("the recovery that was undone", f"recover {SERVER} by set_settings"),
    )
    pages = tuple(Page(title=title, url=stage.pages.of_run(name, since)) for title, name in shown)
    return DemoReport(
        is_proven=stage.is_proven,
        seed=stage.seed,
        grid_mib=stage.depth * _MIB_PER_LAYER,
        phases=tuple(stage.phases),
        breakages=breakages,
        writer=writer,
        pages=pages,
        duration_s=round(time.monotonic() - began_s, 3),
    )
