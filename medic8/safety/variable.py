"""The variable of Prefect by which everything is paused."""

from __future__ import annotations

from datetime import datetime

from medic8.model.policy import Pause

VARIABLE = "medic8_paused"

#: Values of it that say no, in lower case; any other says yes, and is the reason.
_NO = frozenset({"", "false", "no", "off", "0", "none", "null"})


def pause_said_by(value: object, since: datetime) -> tuple[Pause, ...]:
    """The pause that *value* says, or none; it has had it *since*."""
    said = str(value).strip()
    if said.lower() in _NO:
        return ()
    reason = "the variable says so" if value is True else said
    return (Pause(reason=reason, by=f"Prefect variable {VARIABLE}", since=since),)
