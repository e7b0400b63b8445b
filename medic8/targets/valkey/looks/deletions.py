"""Whether deleting holds a server up that could free memory in the background."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.model.issue import Evidence, Finding
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.looks.facts import Facts, grown
from medic8.targets.valkey.looks.judging import over
from medic8.targets.valkey.looks.slow_command import SlowCommand
from medic8.targets.valkey.policy import POLICY

#: By command: the setting that has it free memory in the background.
#: Source: valkey.conf, LAZY FREEING.
_BY_COMMAND = {
    "DEL": "lazyfree-lazy-user-del",
    "FLUSHALL": "lazyfree-lazy-user-flush",
    "FLUSHDB": "lazyfree-lazy-user-flush",
    "RENAME": "lazyfree-lazy-server-del",
}
_EXPIRY = "lazyfree-lazy-expire"

#: Deleting many keys takes long in whichever way each is freed.
_MOST_KEYS = 8

#: How often expiry ran out of the time that it may take.
TIME_CAP = "expired_time_cap_reached_count"


def lazy_setting(words: Sequence[bytes]) -> str:
    """By which setting the command of *words* would free in the background; empty if by none."""
    command = words[0].decode("utf-8", "replace").upper() if words else ""
    says_how = command.startswith("FLUSH") and len(words) > 1  # SYNC or ASYNC, whatever is set
    return "" if says_how or len(words) > 1 + _MOST_KEYS else _BY_COMMAND.get(command, "")


def lazy_settings(server: Server, before: Facts, after: Facts, slow: Sequence[SlowCommand]) -> Facts:
    """The settings that matter for what was slow; nothing is asked where none does."""
    names = {each.lazy for each in slow if each.lazy}
    if grown(before, after, TIME_CAP):
        names.add(_EXPIRY)
    return server.settings(*sorted(names)) if names else Facts({})


def judge_deletions(slow: Sequence[SlowCommand], lazy: Facts) -> tuple[Finding, ...]:
    """
    Whether deleting large keys made everybody wait, and a setting would have them freed in the background.

    What was slow before that was set cannot come again, and is nobody's concern any more.

    Args:
        slow: Slow commands of the last while.
        lazy: The settings that matter for them; what is not there is not judged.
    """
    waited = [each for each in slow if lazy.get(each.lazy) == "no"]
    if not waited:
        return ()
    worst = max(waited, key=lambda each: each.took_s)
    names = sorted({each.lazy for each in waited})
    return over(
        "commands.slow_delete",
        POLICY.slow_command,
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


def judge_expiry(capped: int | None, seconds: float, lazy: Facts) -> tuple[Finding, ...]:
    """
    Whether so many keys expire at once that expiry takes all the time that it may.

    Args:
        capped: How often it ran out of time while we looked.
        seconds: How long that was.
        lazy: Whether what expires is freed in the background.
    """
    is_set = lazy.get(_EXPIRY)
    return over(
        "commands.expiry_storm",
        POLICY.expiry,
        None if capped is None else capped / seconds,
        "keys expire faster than the server may spend time on: it ran out of it {seen} times a second",
        about="expiry",
        also=(Evidence(what=f"setting {_EXPIRY}", seen=is_set, limit="yes"),) if is_set else (),
        advice=(
            "have programs spread expiry: add a random tenth to each time to live",
            *((f"CONFIG SET {_EXPIRY} yes frees large values in the background",) if is_set == "no" else ()),
        ),
        objects=({"name": _EXPIRY, "found": "no"},) if is_set == "no" else (),
    )
