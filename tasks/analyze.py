"""Weigh what the diagnostics saw."""

from __future__ import annotations

from medic8.analysis import analyzer
from medic8.model.report import Analysis, DiagnosticResult
from tasks.attempts import ONCE
from tasks.light import task


@task(task_run_name="analyze {target}", **ONCE)
def analyze(target: str, results: dict[str, DiagnosticResult]) -> Analysis:
    """Put all findings in the order of their weight."""
    del target  # names the run
    return analyzer.analyze(results.values())
