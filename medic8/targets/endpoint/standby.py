"""Whether somebody serves an endpoint well: now, and whoever is to serve it next."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

from medic8.errors import RefusedError, VerifyError
from medic8.model.target import Target
from medic8.targets.calls import pause_s
from medic8.targets.endpoint.asking_often import Asked, ask_often
from medic8.targets.endpoint.endings import Ending
from medic8.targets.endpoint.replies import that_count, wrong_with


def require_standby(target: Target) -> None:
    """
    See that whoever is to serve *target* next answers well, by every request.

    Raises:
        RefusedError: it does not; the message says how.
    """
    asked = ask_often(standby_of(target))
    if problem := problem_of(asked, target):
        raise RefusedError(f"the standby {asked.place.shown} does not serve either: {problem}")


def standby_of(target: Target) -> Target:
    """
    Whoever is to serve *target* next, as a target of its own.

    Raises:
        RefusedError: no url of it is configured.
    """
    if target.fail_over is None or target.fail_over.standby is None:
        raise RefusedError(f"target {target.name} has no standby configured under fail_over")
    return target.model_copy(update={"url": target.fail_over.standby})


def await_service(target: Target, *, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
    """
    Wait until every request to *target* is answered well.

    Raises:
        VerifyError: that has not come about within *patience_s* seconds.
    """
    ends_s = clock() + patience_s
    for look in itertools.count():
        asked = ask_often(target)
        problem = problem_of(asked, target)
        if not problem:
            return
        if clock() >= ends_s:
            raise VerifyError(
                f"{asked.place.shown} is not served well {patience_s:g} s after the change: {problem}"
            )
        # Who has just begun to serve is not helped by being asked at once.
        time.sleep(pause_s(look, random.random))


def problem_of(asked: Asked, target: Target) -> str:
    """What is wrong with the first request that was not answered well; empty if there is none."""
    if asked.name.ending is not Ending.ANSWERED:
        return f"{asked.name.ending}: {asked.name.said}"
    told = ((reply.address, wrong_with(reply, target.request)) for reply in that_count(asked.replies))
    return next((f"{address}: {why}" for address, why in told if why), "")
