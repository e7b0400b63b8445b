"""Statistics of resolutions, for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType

from medic8.cli.render import table, text, word
from medic8.model.resolution import Outcome
from medic8.model.statistics import Share, Spread, Statistics, StatisticsReport
from medic8.model.wording import span

#: Outcomes with a column of their own.
_COUNTED = (Outcome.PARTLY_RESOLVED, Outcome.RESTORED, Outcome.NEEDS_PERSON, Outcome.REFUSED)


def render_stats(report: StatisticsReport) -> Iterator[RenderableType]:
    """One line for each type of issue and strategy, and one for all."""
    if not report.total.count:
        yield text("no resolution matches")
        return
    listed = table(
        "issue",
        "strategy",
        "count",
        "resolved",
        "95 %",
        *(outcome.value.replace("_", " ") for outcome in _COUNTED),
        "found in",
        "p95",
        "healed in",
        "p95",
    )
    for group in report.groups:
        listed.add_row(word(group.issue or "-"), text(group.strategy or "-"), *_numbers(group))
    if len(report.groups) > 1:
        listed.add_row(text("all", "bold"), text(""), *_numbers(report.total))
    yield listed


def _numbers(group: Statistics) -> tuple[RenderableType, ...]:
    return (
        text(f"{group.count:,}"),
        text(_share(group.success)),
        text(_interval(group.success)),
        *(text(f"{group.outcomes.get(outcome, 0):,}") for outcome in _COUNTED),
        *map(text, (*_spread(group.detect), *_spread(group.heal))),
    )


def _share(share: Share) -> str:
    return f"{share.hits:,} of {share.of:,}" if share.of else "-"


def _interval(share: Share) -> str:
    return f"{share.low:.0%}-{share.high:.0%}" if share.of else "-"


def _spread(spread: Spread | None) -> tuple[str, str]:
    return ("-", "-") if spread is None else (span(spread.median_s), span(spread.p95_s))
