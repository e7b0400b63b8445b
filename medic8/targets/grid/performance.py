"""How fast pages of a grid are read, and how much of it is there, by its diagnosis."""

from __future__ import annotations

from medic8.model.performance import AnalyzerResult, Latency
from medic8.model.report import DiagnosticReport
from medic8.model.resources import Measure, ResourceMetrics
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.readings import Readings, retold

_ASSUMPTIONS = (
    (
        "Pages are timed one by one during the scrub, which reads besides: p90 is not kept of them, and p99 "
        "stands in its place."
    ),
)


def analyze_pages(target: Target, around: Surroundings, report: DiagnosticReport) -> AnalyzerResult:
    """Reads of single pages by percentile, from the scrub of a moment ago."""
    del target, around
    found = retold("pages", report, {"grid": ("grid.read_", "grid.throughput")})
    performance = report.grid.performance if report.grid else None
    if performance is None or performance.read_median_s is None or not performance.reads_timed:
        return found
    p99_s = performance.read_p99_s or performance.read_median_s
    pages = Latency(
        what="a page of 4 KiB",
        count=performance.reads_timed,
        p50_s=performance.read_median_s,
        p90_s=p99_s,
        p99_s=p99_s,
        slowest_s=performance.read_worst_s or p99_s,
    )
    return found.model_copy(update={"latencies": (pages,), "assumptions": _ASSUMPTIONS})


def monitor_grid(report: DiagnosticReport) -> tuple[ResourceMetrics, ...]:
    """How many of its blocks hold anything, how long a page takes, and what is damaged."""
    seen = Readings(report)
    blocks = seen.measure("grid", "grid.blocks", "count")
    if report.grid is not None and blocks.value is not None:
        blocks = Measure.model_validate({**dict(blocks), "limit": report.grid.health.blocks_total})
    return (
        seen.row(
            "blocks",
            blocks,
            seen.measure("grid", "grid.read_median", "seconds", why="no page was read"),
            seen.measure("grid", "grid.damaged_values", "damaged"),
        ),
        seen.row(
            "cells",
            "cells are counted by blocks",
            seen.measure("grid", "grid.quarantined_pages", "pages in quarantine"),
            seen.measure("grid", "grid.lost_cells", "lost"),
        ),
    )
