"""Look at a target; one task for each diagnostic."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from prefect import task

from medic8.analysis.analyzer import UNREACHABLE
from medic8.errors import RefusedError, UnreachableError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult
from medic8.model.target import Target
from medic8.recovery.journal import Journal
from medic8.samples import SampleStore
from medic8.settings import Settings
from medic8.targets.kind import Surroundings
from medic8.targets.registry import kind_named
from tasks.attempts import ATTEMPTS
from tasks.progress import listener

#: Longest a diagnostic may take; a scrub of a large grid is the longest there is.
LOOKING_S = 4 * 3600


@task(task_run_name="look at {diagnostic} of {target.name}", timeout_seconds=LOOKING_S, **ATTEMPTS)
def run_diagnostic(
    target: Target, diagnostic: str, site: Settings, watch_s: float = 0.0, diagnosis: str = ""
) -> DiagnosticResult:
    """
    Run one diagnostic; a target that does not answer is a finding, and so is one that refuses to be seen.

    Args:
        target: What to look at.
        diagnostic: Its name.
        site: Where backups, journal and samples are.
        watch_s: For how long to look at what changes now; 0 = only for moments.
        diagnosis: Looks of the same one share what they read; empty = this one is alone.
    Raises:
        TransientError: it stopped answering half way; tried again.
    """
    now, began = datetime.now(UTC), time.perf_counter()
    look = kind_named(target.kind).diagnostics[diagnostic]
    try:
        around = Surroundings(
            backups=site.backups,
            now=now,
            progress=listener(),
            recoveries=lambda since: Journal(site.journal_url).done_since(since),
            samples=SampleStore(site.home / "samples"),
            watch_s=watch_s,
            diagnosis=diagnosis,
        )
        result = look(target, around)
    except UnreachableError as exc:
        result = DiagnosticResult(diagnostic=diagnostic, findings=(_unreachable(exc),), taken_at=now)
    except RefusedError as exc:
        result = DiagnosticResult(
            diagnostic=diagnostic,
            findings=(_refused(diagnostic, exc),),
            unseen=(f"{diagnostic}: {exc}",),
            taken_at=now,
        )
    return result.model_copy(update={"duration_s": round(time.perf_counter() - began, 4)})


def failed_diagnostic(diagnostic: str, error: Exception) -> DiagnosticResult:
    """The result of a diagnostic that failed for good: a finding, not the end of the report."""
    finding = Finding(
        code="diagnostic.failed",
        severity=Severity.WARNING,
        text=f"the diagnostic {diagnostic} failed: {error}",
        evidence=(Evidence(what="error", seen=type(error).__name__),),
    )
    return DiagnosticResult(diagnostic=diagnostic, findings=(finding,), taken_at=datetime.now(UTC))


def _refused(diagnostic: str, error: RefusedError) -> Finding:
    # Nobody may read "healthy" where nothing was seen.
    return Finding(
        code="diagnostic.refused",
        severity=Severity.WARNING,
        text=f"{diagnostic} could not be looked at: {error}",
        evidence=(Evidence(what=diagnostic, seen=str(error)),),
    )


def _unreachable(error: UnreachableError) -> Finding:
    return Finding(
        code=UNREACHABLE,
        severity=Severity.CRITICAL,
        text=str(error),
        about="connection",
        evidence=(Evidence(what="connection", seen=str(error)),),
    )
