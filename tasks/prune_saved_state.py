"""Remove what recoveries saved and retention does not keep."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger, task

from medic8.model.saved import Pruning
from medic8.recovery import pruning
from medic8.recovery.journal import Journal
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS


@task(task_run_name="prune saved state", timeout_seconds=1800, **ATTEMPTS)
def prune_saved(site: Settings, *, is_dry_run: bool) -> Pruning:
    """Remove what is not kept; what cannot be removed is said, and tried again by the next pruning."""
    report = pruning.prune(
        Journal(site.journal_url),
        site.saved_state,
        site.keep,
        clock=lambda: datetime.now(UTC),
        is_dry_run=is_dry_run,
    )
    for problem in report.problems:
        get_run_logger().warning("%s", problem)
    return report
