"""Decide which backups stay, from their times alone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from medic8.backups.place import Retention
from medic8.model.backup import BackupManifest, Decision, Kept

#: Clocks of two machines may differ by this much without anything being wrong.
_CLOCKS_DIFFER = timedelta(hours=1)


def is_ahead(backup: BackupManifest, now: datetime) -> bool:
    """Whether *backup* says that it is of a time to come: a clock was wrong when it was made."""
    return backup.created_at > now + _CLOCKS_DIFFER


def decide(backups: Iterable[BackupManifest], retention: Retention, *, now: datetime) -> tuple[Decision, ...]:
    """
    Which of *backups* stay and which rules say so.

    The rules are applied to each thing that was backed up for itself: the backups
    of a grid that was created anew do not push out those of the earlier one. The
    newest complete backup always stays, and where none is complete the newest. One
    whose time is still to come stays too, and counts for nothing.

    Args:
        backups: Of one target, in any order.
        retention: What to keep.
        now: The time, with a time zone.
    Returns:
        One decision for each backup, the newest first.
    """
    newest_first = sorted(backups, key=lambda backup: (backup.created_at, backup.id), reverse=True)
    kept: dict[str, list[Kept]] = {backup.id: [] for backup in newest_first}
    for thing in dict.fromkeys(backup.of for backup in newest_first):
        all_of_it = [backup for backup in newest_first if backup.of == thing]
        for backup in all_of_it:
            if is_ahead(backup, now):
                kept[backup.id].append(Kept.AHEAD)
        own = [backup for backup in all_of_it if not is_ahead(backup, now)]
        for backup in own[: retention.keep_last]:
            kept[backup.id].append(Kept.LAST)
        for backup in _newest_of_each(own, retention.keep_daily, _day):
            kept[backup.id].append(Kept.DAILY)
        for backup in _newest_of_each(own, retention.keep_weekly, _week):
            kept[backup.id].append(Kept.WEEKLY)
        complete = next((backup for backup in own if backup.is_complete), None)
        if complete is not None and not kept[complete.id]:
            kept[complete.id].append(Kept.ONLY_COMPLETE)
        if own and not any(kept[backup.id] for backup in own):
            kept[own[0].id].append(Kept.ONLY)
    return tuple(Decision(backup=backup.id, kept_by=tuple(kept[backup.id])) for backup in newest_first)


def _newest_of_each(
    newest_first: Sequence[BackupManifest], count: int, period: Callable[[BackupManifest], Hashable]
) -> list[BackupManifest]:
    firsts: dict[Hashable, BackupManifest] = {}
    for backup in newest_first:
        firsts.setdefault(period(backup), backup)
    return list(firsts.values())[:count]


def _day(backup: BackupManifest) -> Hashable:
    return backup.created_at.astimezone(UTC).date()


def _week(backup: BackupManifest) -> Hashable:
    return backup.created_at.astimezone(UTC).isocalendar()[:2]
