"""Tell in Markdown when what was done, for an artifact."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.analysis.markdown import escape, table
from medic8.analysis.timeline import Event
from medic8.model.resolution import Resolution
from medic8.model.wording import span


def timeline(resolution: Resolution, events: Sequence[Event]) -> str:
    """The events as a table: when, how long after the first, and what."""
    begin = events[0].at
    rows = [
        (
            f"{event.at:%H:%M:%S}.{event.at.microsecond // 1000:03}",
            f"+{span((event.at - begin).total_seconds())}",
            event.what,
            event.about,
        )
        for event in events
    ]
    head = f"# {escape(resolution.target)}: {resolution.outcome.value.replace('_', ' ')}"
    return "\n\n".join(
        (head, f"From {begin:%Y-%m-%d %H:%M:%S %Z}.", table(("At", "After", "What", "About"), rows))
    )
