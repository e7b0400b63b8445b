"""Whether deleting holds a server up that could free memory in the background."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.target import Target
from medic8.model.wording import shown
from medic8.targets.facts import Facts, grown
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.clues import WHAT_EXPIRES
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.looks.key_sample import databases, prefix_of, sample_keys
from medic8.targets.valkey.looks.slow_command import SlowCommand
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: By command: the setting that has it free memory in the background.
#: Source: valkey.conf, LAZY FREEING.
_BY_COMMAND = {
    "DEL": "lazyfree-lazy-user-del",
    "FLUSHALL": "lazyfree-lazy-user-flush",
    "FLUSHDB": "lazyfree-lazy-user-flush",
    "RENAME": "lazyfree-lazy-server-del",
}
_EXPIRY = "lazyfree-lazy-expire"
_EVENTS = "notify-keyspace-events"

#: Longer than slow commands count.
_REMEMBERED = timedelta(hours=1)

#: Deleting many keys takes long in whichever way each is freed.
_MOST_KEYS = 8

#: How often expiry ran out of the time that it may take.
TIME_CAP = "expired_time_cap_reached_count"

#: So many keys tell which kind of them expires.
_SAMPLE = 300


def lazy_setting(words: Sequence[bytes]) -> str:
    """By which setting the command of *words* would free in the background; empty if by none."""
    command = words[0].decode("utf-8", "replace").upper() if words else ""
    says_how = command.startswith("FLUSH") and len(words) > 1  # SYNC or ASYNC, whatever is set
    return "" if says_how or len(words) > 1 + _MOST_KEYS else _BY_COMMAND.get(command, "")


def lazy_settings(server: Server, before: Facts, after: Facts, slow: Sequence[SlowCommand]) -> Facts:
    """The settings that matter for what was slow; nothing is asked where none does."""
    names = {each.lazy for each in slow if each.lazy}
    if grown(before, after, TIME_CAP):
        names.update((_EXPIRY, _EVENTS))
    return server.settings(*sorted(names)) if names else Facts({})


def who_expires(server: Server, database: int) -> tuple[Evidence, ...]:
    """
    Which prefix most of the keys that expire have, by a small sample.

    Args:
        server: Its connection ends up in another database.
        database: The one that it is in.
    """
    spaces = databases(server.info("keyspace"))
    expiring = [
        each for each in sample_keys(server, spaces, first=database, most=_SAMPLE) if each.expires is True
    ]
    if not expiring:
        return ()
    prefix, count = Counter(prefix_of(each.name) for each in expiring).most_common(1)[0]
    return (
        Evidence(
            what=WHAT_EXPIRES,
            seen=f"{shown(prefix) or '(no prefix)'}: {count:,} of {len(expiring):,} looked at",
        ),
    )


def is_told_of_expiry(settings: Facts) -> bool | None:
    """
    Whether clients that listen are told of each key that expires; None if that was not asked.

    Source: valkey.conf, notify-keyspace-events: K or E, and x or A.
    """
    flags = settings.get(_EVENTS)
    return None if flags is None else bool(set("KE") & set(flags)) and bool(set("xA") & set(flags))


def judge_deletions(
    slow: Sequence[SlowCommand], lazy: Facts, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether deleting large keys made everybody wait, and a setting would have them freed in the background.

    Where it is set, a deletion that is slow all the same is like any other slow command: see `not_spared`.

    Args:
        slow: Slow commands of the last while.
        lazy: The settings that matter for them; what is not there is not judged.
        policy: The limits of the target.
    """
    waited = [each for each in slow if lazy.get(each.lazy) == "no"]
    if not waited:
        return ()
    worst = max(waited, key=lambda each: each.took_s)
    names = sorted({each.lazy for each in waited})
    return over(
        "commands.slow_delete",
        policy.slow_command,
        worst.took_s,
        f"{worst.name} took {{seen}} to free memory; nobody else was served meanwhile",
        about="deletions",
        also=tuple(Evidence(what=f"setting {name}", seen="no", limit="yes") for name in names),
        advice=(
            *(f"CONFIG SET {name} yes frees in the background" for name in names),
            "have programs send UNLINK instead of DEL, and FLUSHALL ASYNC; split large keys",
        ),
        objects=tuple({"name": name, "found": "no"} for name in names),
    )


def not_spared(slow: Sequence[SlowCommand], lazy: Facts, since_s: Mapping[str, float]) -> list[SlowCommand]:
    """
    What was slow and is no deletion that a setting would spare, or spares since.

    Args:
        slow: Slow commands of the last while.
        lazy: The settings that matter for them.
        since_s: By setting: when Medic8 set it, by the server's clock. What was slow before that is cured.
    """
    return [
        each
        for each in slow
        if lazy.get(each.lazy) != "no" and each.at_s > since_s.get(each.lazy, float("-inf"))
    ]


def set_since_s(
    server: Server, target: Target, around: Surroundings, lazy: Facts, *, now_s: float
) -> dict[str, float]:
    """
    By setting that frees in the background: when Medic8 set it, by the server's clock, as far as it did.

    As long as somebody repairs the server, nobody can tell what is from before: then it is set only just now.

    Args:
        server: Is asked for a claim.
        target: Its target.
        around: Knows of recoveries.
        lazy: The settings that matter.
        now_s: The server's clock.
    """
    names = [name for name, value in lazy.items() if value == "yes"]
    if not names:
        return {}
    if server.try_one("EXISTS", CLAIM_KEY) == 1:
        return dict.fromkeys(names, now_s)
    past = around.recoveries(around.now - _REMEMBERED) if around.recoveries else ()
    since_s: dict[str, float] = {}
    for recovery in past:
        touched = [step.touches for unit in recovery.plan.units for step in unit.steps]
        for record in recovery.steps:
            name = touched[record.number].removeprefix("setting ")
            is_it = recovery.plan.target == target.name and name in names
            if is_it and record.done_at is not None:
                ago_s = (around.now - record.done_at).total_seconds()
                since_s[name] = max(now_s - ago_s, since_s.get(name, 0.0))
    return since_s


def judge_expiry(
    capped: int | None,
    seconds: float,
    lazy: Facts,
    *,
    policy: ServerPolicy = POLICY,
) -> tuple[Finding, ...]:
    """
    Whether so many keys expire at once that expiry takes all the time that it may.

    Args:
        capped: How often it ran out of time while we looked.
        seconds: How long that was.
        lazy: Whether what expires is freed in the background.
        policy: The limits of the target.
    """
    is_set = lazy.get(_EXPIRY)
    return over(
        "commands.expiry_storm",
        policy.expiry,
        None if capped is None else round(capped / seconds, 1),
        "keys expire faster than the server may spend time on: it ran out of it {seen} times a second",
        about="expiry",
        also=(Evidence(what=f"setting {_EXPIRY}", seen=is_set, limit="yes"),) if is_set else (),
        advice=(
            "have programs spread expiry: add a random tenth to each time to live",
            *((f"CONFIG SET {_EXPIRY} yes frees large values in the background",) if is_set == "no" else ()),
        ),
        objects=({"name": _EXPIRY, "found": "no"},) if is_set == "no" else (),
    )
