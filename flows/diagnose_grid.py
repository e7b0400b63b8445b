"""Diagnose a memory grid (guide: ``GridDiagnostics.diagnose_grid``)."""

from __future__ import annotations

from prefect import flow

from flows.diagnose import report_on
from medic8.errors import ConfigurationError, UnreachableError
from medic8.model.grid import GridReport
from medic8.settings import load_settings
from tasks.track import show_map, show_report, untagged


@flow(
    name="diagnose_grid",
    flow_run_name="diagnose grid {target}",
    persist_result=True,
    result_serializer="json",
)
def diagnose_grid(target: str) -> GridReport:
    """
    Health, consistency and performance of a grid; changes nothing.

    Args:
        target: The name of a target of kind ``grid`` in the configuration.
    """
    site = load_settings()
    subject = site.target(target)
    if subject.kind != "grid":
        raise ConfigurationError(f"target {target!r} is of kind {subject.kind!r}, not 'grid'")
    with untagged():
        report = report_on(subject, site)
        show_report(report)
        if report.grid is not None and report.grid.map is not None:
            show_map(report.target, report.grid.map)
    if report.grid is None:
        raise UnreachableError(
            f"grid {target!r} could not be looked at: "
            + "; ".join((*(each.text for each in report.analysis.findings), *report.analysis.unseen))
        )
    return report.grid
