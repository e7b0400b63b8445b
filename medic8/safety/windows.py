"""Whether a window that comes again is open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from medic8.model.policy import Day, Window

_DAYS = tuple(Day)


def opened_at(window: Window, now: datetime) -> datetime | None:
    """
    When *window* opened, if it is open at *now*; None if it is not.

    Its days and its start are those of its zone. From its beginning on, time is counted as it passes, so that
    a window of two hours lasts two hours also in the night in which clocks are changed.
    """
    zone = ZoneInfo(window.zone)
    duration = timedelta(minutes=window.duration_min)
    today = now.astimezone(zone).date()
    for back in range(duration.days + 2):
        day = today - timedelta(days=back)
        if window.days and _DAYS[day.weekday()] not in window.days:
            continue
        began = datetime.combine(day, window.start, tzinfo=zone).astimezone(UTC)
        if began <= now < began + duration:
            return began
    return None


def is_meant(on: str, name: str, labels: Mapping[str, str]) -> bool:
    """
    Whether *on* means a target.

    Args:
        on: A target's name, or a label as ``key=value``; empty = every target.
        name: The target's name.
        labels: The target's labels.
    """
    label, is_label, value = on.partition("=")
    return labels.get(label) == value if is_label else on in {"", name}
