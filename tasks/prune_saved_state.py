"""Remove what recoveries saved, and who was asked, as far as retention does not keep it."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger

from medic8.model.saved import Pruning
from medic8.recovery import approvals_retention, pruning
from medic8.recovery.journal import Journal
from medic8.settings import Settings
from tasks.attempts import ATTEMPTS
from tasks.light import task


@task(task_run_name="prune saved state", timeout_seconds=1800, **ATTEMPTS)
def prune_saved(site: Settings, *, is_dry_run: bool) -> Pruning:
    """Remove what is not kept; what cannot be removed is said, and tried again by the next pruning."""
    journal = Journal(site.journal_url)
    report = pruning.prune(
        journal,
        site.saved_state,
        site.keep,
        clock=lambda: datetime.now(UTC),
        is_dry_run=is_dry_run,
    )
    for problem in report.problems:
        get_run_logger().warning("%s", problem)
    forgotten = approvals_retention.forget(journal, site.approvals, datetime.now(UTC), is_dry_run=is_dry_run)
    return report.model_copy(update={"approvals": forgotten})
