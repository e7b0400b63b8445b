"""Whether a person has paused automation: in the journal, or by a variable of Prefect."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from prefect import get_client

from medic8.model.policy import Mandate, Pause, Request
from medic8.model.target import Target
from medic8.recovery import pauses
from medic8.recovery.admitting import PolicyError
from medic8.recovery.journal import Journal
from medic8.safety.rules import member_of, refusal_in, said_by_pause
from medic8.safety.variable import VARIABLE, pause_said_by
from medic8.settings import Settings

#: Before a unit the variable is asked for again when it was read so long ago: a request takes milliseconds,
#: and a plan may have hundreds of units.
_FRESH_S = 1.0


class _Read:
    """
    The variable as it was read last by this process.

    Attributes:
        at_s: When, by a clock that nobody sets.
        found: What it said.
    """

    at_s = -_FRESH_S
    found: tuple[Pause, ...] = ()


def variable_pause() -> tuple[Pause, ...]:
    """The pause that Prefect's variable ``medic8_paused`` says, or none."""
    with get_client(sync_client=True) as client:
        variable = client.read_variable_by_name(VARIABLE)
    _Read.at_s = time.monotonic()
    _Read.found = ()
    if variable is not None:
        _Read.found = pause_said_by(variable.value, variable.updated or datetime.now(UTC))
    return _Read.found


def require_unpaused(target: Target, site: Settings, mandate: Mandate) -> None:
    """
    See that nobody has paused what is done on *target* since it was begun; asked before every unit.

    Raises:
        PolicyError: somebody has.
        SilentError: the journal does not answer.
    """
    said = _Read.found if time.monotonic() < _Read.at_s + _FRESH_S else variable_pause()
    known = (*said, *pauses.active(Journal(site.journal_url), datetime.now(UTC)))
    member = member_of(target, {each.name: each for each in site.targets}, site.policy)
    ruling = said_by_pause(Request(target=member, mandate=mandate), known)
    if refusal := refusal_in((ruling,)):
        raise PolicyError(refusal)
