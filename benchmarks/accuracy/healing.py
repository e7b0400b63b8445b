"""Heal through the real flows, on a Prefect of this measurement's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medic8.local import stack
from medic8.local.home import make_home

#: Five times, each of which is asked for first.
_ROUNDS = 2 * 5

#: What a plan says that does a part at a time.
_AGAIN = "heal again"


@contextmanager
def prefect_in(folder: Path) -> Iterator[None]:
    """Have a Prefect server; before anything imports Prefect, which reads the environment once."""
    home = make_home(folder / "stack")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment["PREFECT_SERVER_API_AUTH_STRING"] = ""
    try:
        status = stack.up(home, progress=lambda _: None, environment=environment)
        os.environ["PREFECT_API_URL"] = str(status.prefect_api_url)
        os.environ["PREFECT_HOME"] = str(folder / "client")
        os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
        yield
    finally:
        stack.remove(home, progress=lambda _: None)


def heal(target: str, watch_s: float) -> list[tuple[str, str, str]]:
    """
    Heal and say yes to every plan; (strategy, outcome, reason) of what came of it.

    Args:
        target: Its name.
        watch_s: For so long each diagnosis watches, as the one did that is scored.
    """
    from flows.run import run  # noqa: PLC0415 - it imports Prefect, whose settings are made first

    agreed: list[str] = []
    earlier: list[tuple[str, str, str]] = []
    for _ in range(_ROUNDS):
        treatment = run("heal", target=target, approved=agreed, watch_s=watch_s)
        asked = [
            each.plan.digest
            for each in treatment.resolutions
            if each.outcome == "awaiting_approval" and each.plan.digest not in agreed
        ]
        ended = [
            (each.plan.strategy if each.plan else "", each.outcome.value, each.reason)
            for each in treatment.resolutions
        ]
        # Where a plan does a part at a time, it says that one is to heal again.
        if not asked and not any(
            each.outcome == "partly_resolved" and _AGAIN in each.reason for each in treatment.resolutions
        ):
            break
        # What was only asked for is answered in the next round.
        earlier += [each for each in ended if each[1] != "awaiting_approval"]
        agreed += asked
    else:
        return earlier + [each for each in ended if each[1] == "awaiting_approval"]
    return earlier + ended
