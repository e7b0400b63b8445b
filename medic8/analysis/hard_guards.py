"""Judge what is exact: readings before and after in, one verdict for each guard out."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.model.guard import GuardVerdict, HardReading, Verdict
from medic8.model.wording import counted


def verdict(guard: str, before: str, after: str, found: Verdict, reason: str = "") -> GuardVerdict:
    """The verdict on a hard guard."""
    return GuardVerdict(guard=guard, is_hard=True, before=before, after=after, verdict=found, reason=reason)


def of(readings: Sequence[HardReading], guard: str) -> dict[str, HardReading]:
    """The readings of one *guard*, by what they are about."""
    return {each.about: each for each in readings if each.guard == guard}


def pair(
    guard: str, before: Sequence[HardReading], after: Sequence[HardReading]
) -> tuple[str, str] | GuardVerdict:
    """Both values of a guard that has one; else the verdict that nobody can tell, and why."""
    was, is_now = of(before, guard).get(""), of(after, guard).get("")
    missing = next((each.unseen for each in (was, is_now) if each is not None and each.unseen), "")
    if was is None or is_now is None or missing:
        return verdict(guard, "", "", Verdict.CANNOT_TELL, missing or "it was not read")
    return was.value, is_now.value


def judge_same(guard: str, before: Sequence[HardReading], after: Sequence[HardReading]) -> GuardVerdict:
    """Worse if it is another one than it was."""
    values = pair(guard, before, after)
    if isinstance(values, GuardVerdict):
        return values
    was, is_now = values
    return verdict(guard, was, is_now, Verdict.UNCHANGED if was == is_now else Verdict.WORSE)


def judge_count(guard: str, before: Sequence[HardReading], after: Sequence[HardReading]) -> GuardVerdict:
    """Worse if there are fewer than there were."""
    values = pair(guard, before, after)
    if isinstance(values, GuardVerdict):
        return values
    was, is_now = map(int, values)
    found = Verdict.UNCHANGED if was == is_now else Verdict.BETTER if is_now > was else Verdict.WORSE
    return verdict(guard, str(was), str(is_now), found)


def judge_good(
    guard: str, good: str, before: Sequence[HardReading], after: Sequence[HardReading]
) -> GuardVerdict:
    """Worse if it was *good* and is not; what was not good before cannot be spoilt."""
    values = pair(guard, before, after)
    if isinstance(values, GuardVerdict):
        return values
    was, is_now = values
    if (was == good) == (is_now == good):
        return verdict(guard, was, is_now, Verdict.UNCHANGED)
    return verdict(guard, was, is_now, Verdict.WORSE if was == good else Verdict.BETTER)


def judge_all_good(
    guard: str, one: str, good: str, before: Sequence[HardReading], after: Sequence[HardReading]
) -> GuardVerdict:
    """Worse if any of several things was *good* and is not; *one* is what one of them is called."""
    was = {about: each.value for about, each in of(before, guard).items() if not each.unseen}
    is_now = {about: each.value for about, each in of(after, guard).items() if not each.unseen}
    sound = [about for about, value in was.items() if value == good]
    if not was or not is_now:
        unseen = next((each.unseen for each in (*before, *after) if each.guard == guard and each.unseen), "")
        return verdict(guard, "", "", Verdict.CANNOT_TELL, unseen or f"no other {one} was there to look at")
    spoilt = [about for about in sound if is_now.get(about, good) != good]
    found = Verdict.WORSE if spoilt else Verdict.UNCHANGED
    reason = f"{one} {', '.join(spoilt)}: {is_now[spoilt[0]]}" if spoilt else ""
    left = len(sound) - len(spoilt)
    return verdict(guard, f"{counted(len(sound), one)} {good}", f"{counted(left, one)} {good}", found, reason)


def judge_appeared(guard: str, before: Sequence[HardReading], after: Sequence[HardReading]) -> GuardVerdict:
    """
    Worse if something that had never happened happened since.

    What had happened before and happened again may be what it always was: nobody can tell.
    """
    was, is_now = of(before, guard), of(after, guard)
    unseen = next((each.unseen for each in (*was.values(), *is_now.values()) if each.unseen), "")
    if unseen:
        return verdict(guard, "", "", Verdict.CANNOT_TELL, unseen)
    counts = {about: int(each.value) for about, each in was.items()}
    later = {about: int(each.value) for about, each in is_now.items()}
    grown = {about: count for about, count in later.items() if count > counts.get(about, 0)}
    new = [about for about in grown if not counts.get(about)]
    was_reset = any(later.get(about, 0) < count for about, count in counts.items())
    words = _counts({about: counts.get(about, 0) for about in {*counts, *grown}}), _counts(later)
    if was_reset:
        return verdict(guard, *words, Verdict.CANNOT_TELL, "somebody reset the server's counters meanwhile")
    if new:
        return verdict(guard, *words, Verdict.WORSE, f"never before: {', '.join(sorted(new))}")
    if grown:
        return verdict(guard, *words, Verdict.CANNOT_TELL, f"again: {', '.join(sorted(grown))}")
    return verdict(guard, *words, Verdict.UNCHANGED)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{about} {count}" for about, count in sorted(counts.items()) if count) or "none"
