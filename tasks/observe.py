"""Note what this worker sees of its targets, so that one that sees all turn ill is itself suspected."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger

from medic8.errors import TransientError
from medic8.model.report import DiagnosticReport
from medic8.owner import machine_id
from medic8.recovery import watching
from medic8.recovery.journal import Journal
from medic8.settings import Settings
from tasks.attempts import ONCE
from tasks.light import task


@task(task_run_name="note how {report.target} is", **ONCE)
def note_sighting(report: DiagnosticReport, site: Settings) -> None:
    """Note whether the target of *report* is well; where the journal is silent, nothing is begun anyway."""
    try:
        watching.note(
            Journal(site.journal_url),
            machine_id(),
            report.target,
            is_ill=not report.is_healthy,
            at=datetime.now(UTC),
        )
    except TransientError as exc:
        get_run_logger().warning("how %s is was not noted: %s", report.target, exc)
