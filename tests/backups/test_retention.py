"""Which backups stay is decided by their times alone."""

from __future__ import annotations

from datetime import timedelta, timezone

from backup_samples import NOW, a_backup
from hypothesis import given
from hypothesis import strategies as st

from medic8.backups.place import Retention
from medic8.backups.retention import decide
from medic8.model.backup import BackupManifest, Kept


def kept(backups: list[BackupManifest], **retention: int) -> list[str]:
    rules = Retention(**({"keep_last": 0, "keep_daily": 0, "keep_weekly": 0} | retention))
    return [each.backup for each in decide(backups, rules, now=NOW) if each.kept_by]


def test_the_last_so_many_stay() -> None:
    """Whatever their distance."""
    backups = [a_backup(timedelta(minutes=10 * number)) for number in range(9)]
    assert kept(backups, keep_last=3) == [backup.id for backup in backups[:3]]


def test_the_newest_of_each_day_and_week_stays() -> None:
    """Days and weeks count that have a backup, in UTC; a gap uses nothing up."""
    ages = [timedelta(hours=hours) for hours in (1, 5, 20, 30, 24 * 20, 24 * 40)]
    backups = [a_backup(age) for age in ages]
    by_day = kept(backups, keep_daily=3)
    assert by_day == [backups[0].id, backups[2].id, backups[4].id]
    by_week = kept(backups, keep_weekly=3)
    assert by_week == [backups[0].id, backups[4].id, backups[5].id]


def test_a_day_is_one_in_utc_and_a_week_may_lie_in_two_years() -> None:
    """Whoever wrote the manifest may have told the time in a zone of theirs."""
    day = [a_backup(timedelta(hours=hours)) for hours in (1, 17)]  # 17:00 and 01:00 of one day
    east = timezone(timedelta(hours=10))
    told = [each.model_copy(update={"created_at": each.created_at.astimezone(east)}) for each in day]
    assert kept(told, keep_daily=2) == [day[0].id]
    new_year = [a_backup(timedelta(days=days)) for days in (89, 90)]  # a Thursday and the Wednesday before
    assert kept(new_year, keep_weekly=2) == [new_year[0].id]


def test_the_newest_complete_one_stays_whatever_the_rules_say() -> None:
    """Newer ones lack pages; nothing else could bring the grid back as a whole."""
    backups = [
        a_backup(timedelta(hours=1), lost_pages=1),
        a_backup(timedelta(hours=2)),
        a_backup(timedelta(hours=3)),
    ]
    assert kept(backups, keep_last=1) == [backups[0].id, backups[1].id]
    (decision,) = [
        each for each in decide(backups, Retention(keep_last=1), now=NOW) if each.backup == backups[1].id
    ]
    assert decision.kept_by
    assert kept(backups) == [backups[1].id]
    only = decide(backups, Retention(keep_last=0, keep_daily=0, keep_weekly=0), now=NOW)
    assert only[1].kept_by == (Kept.ONLY_COMPLETE,)


def test_an_earlier_grid_of_the_name_is_not_pushed_out() -> None:
    """Somebody created the grid anew: the backups of the old one may be what is wanted."""
    new = [a_backup(timedelta(hours=hour), of="new") for hour in range(5)]
    old = [a_backup(timedelta(days=9, hours=hour), of="old") for hour in range(5)]
    assert kept([*old, *new], keep_last=2) == [each.id for each in (*new[:2], *old[:2])]


def test_a_backup_from_a_clock_that_ran_ahead_pushes_out_none() -> None:
    """It stays, since nobody knows how old it is, and the last ones are counted without it."""
    ahead = a_backup(timedelta(days=-400))
    backups = [a_backup(timedelta(hours=hours)) for hours in (1, 2, 3)]
    assert kept([ahead, *backups], keep_last=1) == [ahead.id, backups[0].id]
    assert decide([ahead], Retention(), now=NOW)[0].kept_by == (Kept.AHEAD,)


def test_the_last_one_of_a_grid_stays_although_it_lacks_pages() -> None:
    """Something is better than nothing."""
    backups = [a_backup(timedelta(hours=hours), lost_pages=1) for hours in (1, 2)]
    decisions = decide(backups, Retention(keep_last=0, keep_daily=0, keep_weekly=0), now=NOW)
    assert [each.kept_by for each in decisions] == [(Kept.ONLY,), ()]


ages = st.lists(st.tuples(st.integers(0, 10_000), st.booleans()), max_size=40, unique_by=lambda pair: pair[0])


@given(found=ages, last=st.integers(0, 9), daily=st.integers(0, 9), weekly=st.integers(0, 9))
def test_more_generous_rules_keep_more_and_nothing_is_decided_twice(
    found: list[tuple[int, bool]], last: int, daily: int, weekly: int
) -> None:
    """Each backup has one decision; the order in which they are listed does not matter."""
    backups = [a_backup(timedelta(hours=age), lost_pages=int(hurt)) for age, hurt in found]
    rules = Retention(keep_last=last, keep_daily=daily, keep_weekly=weekly)
    decisions = decide(backups, rules, now=NOW)
    assert decisions == decide(list(reversed(backups)), rules, now=NOW)
    assert sorted(each.backup for each in decisions) == sorted(each.id for each in backups)
    stay = {each.backup for each in decisions if each.kept_by}
    wider = Retention(keep_last=last + 1, keep_daily=daily + 1, keep_weekly=weekly + 1)
    assert (
        stay <= {each.backup for each in decide(backups, wider, now=NOW) if each.kept_by}
        or not last + daily + weekly
    )
    assert len(stay) >= min(len(backups), last)
    if any(not hurt for _, hurt in found):
        assert any(backup.id in stay and backup.is_complete for backup in backups)
