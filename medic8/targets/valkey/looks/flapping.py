"""Whether a server comes and goes: one moment it can be reached, and the next it cannot."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

from medic8.analysis.judging import over
from medic8.errors import ConfigurationError
from medic8.model.issue import Evidence, Finding
from medic8.targets.valkey.address import redact
from medic8.targets.valkey.looks.door import is_answered
from medic8.targets.valkey.looks.door_words import Ending
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: So many attempts, so far apart, and none that begins later; if the first so many are alike, that is all.
#: A supervisor takes about a second to start again what has ended. Source: systemd.service, RestartSec.
_ATTEMPTS, _APART_S, _MOST_S, _ALIKE = 20, 0.1, 3.0, 15

#: Where it has changed, but as often as a restart does, one goes on: what dies every few seconds shows so.
_MORE_ATTEMPTS, _LONGER_S = 80, 10.0

#: Endings that come at once: whoever ends so may be there a moment later.
AT_ONCE = frozenset({Ending.ANSWERS, Ending.REFUSED, Ending.RESET, Ending.CLOSED, Ending.NO_SOCKET})


def look_for_flapping(
    address: str, *, timeout_s: float, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Try *address* again and again for some seconds at most, and say whether it comes and goes.

    Args:
        address: The server's.
        timeout_s: Longest wait for one attempt.
        policy: How many changes are too many.
    """
    answers: list[bool] = []
    began_s, most, most_s = time.perf_counter(), _ATTEMPTS, _MOST_S
    while len(answers) < most and time.perf_counter() < began_s + most_s:
        if answers:
            time.sleep(_APART_S)
        try:
            answers.append(is_answered(address, timeout_s=timeout_s))
        except ConfigurationError:
            return ()
        if len(answers) >= _ALIKE and len(set(answers)) == 1:
            break
        changes = changes_in(answers)
        if policy.flapping.severity(changes) is not None:
            break
        if changes:
            most, most_s = _MORE_ATTEMPTS, _LONGER_S
    return judge_flapping(answers, redact(address), policy=policy)


def changes_in(answers: Sequence[bool]) -> int:
    """How often what was answered was not the next time, or the other way round."""
    return sum(one != other for one, other in itertools.pairwise(answers))


def judge_flapping(
    answers: Sequence[bool], where: str, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether it comes and goes; a restart is away once and back.

    Args:
        answers: Whether each attempt was answered, in turn.
        where: The server's address, without its password.
        policy: How many changes are too many.
    """
    return over(
        "network.flapping",
        policy.flapping,
        changes_in(answers),
        f"{where} comes and goes: {sum(answers):,} of {len(answers):,} attempts to reach it were answered",
        about="connection",
        advice=(
            "look who starts or moves what is behind the address: the server's log and its supervisor's",
            "a proxy or balancer with several servers behind it may have one of them that is down",
        ),
        also=(Evidence(what="in turn", seen="".join("+" if each else "-" for each in answers)),),
    )
