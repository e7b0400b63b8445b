"""Which keys lack the expiry that the site wants for their prefix."""

from __future__ import annotations

import re
import time

from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import LEAST_EXPIRY_S, ExpiryRule, Target
from medic8.model.wording import shown, span
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import Server, looking

#: Keys that one plan gives an expiry: each is a step, since each may be somebody else's by then.
MOST_EXPIRED = 100

#: Longest that one prefix is scanned for, and keys of one step of it.
_MOST_S = 0.5
_STEP = 200
_PAUSE_S = 0.002
_MOST_COUNTED = 10_000

_EXAMPLES = 3


def look_at_expiry(target: Target, around: Surroundings) -> DiagnosticResult:
    """The keys of each configured prefix in the target's database, as many as half a second brings."""
    with looking(target) as server:
        found: tuple[Finding, ...] = ()
        readings = []
        for rule in target.expiry:
            names, is_whole = _without_expiry(server, rule)
            readings.append(reading(f"expiry.without.{shown(rule.prefix)}", len(names), "count"))
            found += judge_rule(rule, names, is_whole=is_whole)
        return server.result("expiry", around, readings, found)


def judge_rule(rule: ExpiryRule, names: list[bytes], *, is_whole: bool) -> tuple[Finding, ...]:
    """
    Whether there are any.

    Args:
        rule: What the site wants.
        names: Keys of its prefix that never expire.
        is_whole: Whether these are all.
    """
    if not names:
        return ()
    count = f"{len(names):,}{'' if is_whole else ' or more'}"
    after_s = max(rule.after, LEAST_EXPIRY_S)  # a person has the time to take it back
    return (
        Finding(
            code="keys.without_expiry",
            severity=Severity.WARNING,
            text=f"{count} keys {shown(rule.prefix)}… never expire, and {span(rule.after)} are configured",
            about=f"keys {shown(rule.prefix)}…",
            evidence=(
                Evidence(what="keys without expiry", seen=count, limit="0"),
                *(Evidence(what="for example", seen=shown(name)) for name in names[:_EXAMPLES]),
            ),
            advice=("set value and expiry in one command: SET KEY VALUE EX SECONDS",),
            extent=len(names),
            objects=tuple({"key": name.hex(), "after_s": after_s} for name in names[:MOST_EXPIRED]),
        ),
    )


def _without_expiry(server: Server, rule: ExpiryRule) -> tuple[list[bytes], bool]:
    """
    Keys of a prefix that never expire, and whether these are all.

    Those first that nobody has used for the longest: they are the same a moment later, so that a plan which
    a person agreed to still is the plan, however fast others leave new ones.
    """
    pattern = re.sub(r"([\\*?\[\]^])", r"\\\1", rule.prefix) + "*"
    until_s, cursor, found = time.perf_counter() + _MOST_S, b"0", dict[bytes, int]()
    while True:
        scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", _STEP)
        reply = server.ask(*scan, what="keys of configured prefixes", words=1, essential=True)
        if reply is None:
            return [], False
        cursor, names = reply
        answers = server.try_all([("PTTL", name) for name in names]) if names else []
        found.update(_idle_s(server, [key for key, left in zip(names, answers, strict=True) if left == -1]))
        is_whole = cursor == b"0"
        if is_whole or time.perf_counter() > until_s or len(found) >= _MOST_COUNTED:
            still = _still_without(server, list(found))
            return sorted(still, key=lambda name: (-found[name], name)), is_whole
        time.sleep(_PAUSE_S)


def _still_without(server: Server, names: list[bytes]) -> list[bytes]:
    """Those of *names* that have none a moment later either: a program may set it in a second command."""
    still: list[bytes] = []
    for start in range(0, len(names), _STEP):
        time.sleep(_PAUSE_S)
        batch = names[start : start + _STEP]
        answers = server.try_all([("PTTL", name) for name in batch])
        still += [name for name, left in zip(batch, answers, strict=True) if left == -1]
    return still


def _idle_s(server: Server, names: list[bytes]) -> dict[bytes, int]:
    """For how many seconds nobody has used each of *names*; 0 where the server does not tell."""
    answers = server.try_all([("OBJECT", "IDLETIME", name) for name in names]) if names else []
    return {name: idle if isinstance(idle, int) else 0 for name, idle in zip(names, answers, strict=True)}
