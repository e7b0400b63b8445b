"""What the journal knows of recoveries that have not ended as they should."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medic8.cli.call import Call
    from medic8.cli.render_recovery import KnownRecovery
    from medic8.model.recovery import Recovery
    from medic8.model.resolution import HistoryEntry


def tell_of_recoveries(call: Call, target: str) -> bool:
    """
    Say which recoveries of *target* died half way or wait for a person.

    Returns:
        Whether one waits for a person.
    """
    from medic8.model.recovery import RecoveryState
    from medic8.model.wording import moment
    from medic8.owner import is_interrupted
    from medic8.recovery.journal import Journal

    waits = False
    for recovery in Journal(call.settings.journal_url).holding():
        if recovery.plan.target != target:
            continue
        since = f"open since {moment(recovery.opened_at)}"
        if recovery.state is RecoveryState.NEEDS_PERSON:
            waits = True
            call.screen.say(f"recovery {recovery.id} waits for a person; see medic8 acknowledge")
        elif is_interrupted(recovery):
            call.screen.say(
                f"recovery {recovery.id} died half way ({since}); medic8 recover-interrupted ends it"
            )
        else:
            call.screen.say(f"recovery {recovery.id} is under way ({since})")
    return waits


def tell_how_ours_ended(call: Call, target: str) -> None:
    """Say how the recoveries of *target* ended that this process began and could not tell Prefect of."""
    from medic8.errors import TransientError
    from medic8.model.wording import short
    from medic8.owner import this_process
    from medic8.recovery.journal import Journal

    try:
        untold = Journal(call.settings.journal_url).untold()
    except TransientError as exc:
        call.screen.warn(str(exc))
        return
    for recovery in untold:
        owner = recovery.owner.model_copy(update={"flow_run": ""})
        if recovery.plan.target != target or owner != this_process():
            continue
        call.screen.say(
            f"recovery {short(recovery.id)} ended {recovery.state.value.replace('_', ' ')} all the same; "
            "once a Prefect server answers, medic8 recover-interrupted completes the history"
        )
        for line in recovery.left:
            call.screen.say(f"left for a person: {line}")


def recovery_called(call: Call, name: str) -> Recovery | None:
    """The one recovery whose id is *name*, or begins so; None if the journal knows none, or is silent."""
    from medic8.errors import TransientError
    from medic8.recovery.ended import LEAST_DIGITS, beginning_with
    from medic8.recovery.presence import journal_at

    url = call.settings.journal_url  # first of all: a wrong configuration is told whatever was asked for
    if len(name) < LEAST_DIGITS:
        return None
    try:
        journal = journal_at(url)
        found = beginning_with(journal, name.lower()) if journal else ()
    except TransientError as exc:
        call.screen.warn(str(exc))
        return None
    return found[0] if len(found) == 1 else None


def recoveries_of(call: Call, run: str) -> list[KnownRecovery]:
    """The recoveries that *run* is the resolution of, the oldest first; none if the journal is silent."""
    from medic8.errors import TransientError
    from medic8.recovery.journal import Journal

    try:
        return [known_of(call, each) for each in Journal(call.settings.journal_url).of_resolution(run)]
    except TransientError as exc:
        call.screen.warn(str(exc))
        return []


def known_of(call: Call, recovery: Recovery) -> KnownRecovery:
    """What the journal and the disk know of *recovery*."""
    from medic8.cli.render_recovery import KnownRecovery, Undoing
    from medic8.recovery.ended import taken_back_by
    from medic8.recovery.journal import Journal
    from medic8.recovery.pruning import saved_by

    undoing = taken_back_by(Journal(call.settings.journal_url), recovery.id)
    return KnownRecovery(
        recovery=recovery,
        saved=saved_by(recovery, call.settings.keep),
        undone_by=tuple(Undoing(recovery=each.id, state=each.state) for each in undoing),
    )


def interrupted(call: Call) -> list[Recovery]:
    """The recoveries that died half way and have not been ended; none if the journal does not answer."""
    from medic8.errors import TransientError
    from medic8.owner import is_interrupted
    from medic8.recovery.journal import Journal

    try:
        held = Journal(call.settings.journal_url).holding()
    except TransientError as exc:
        call.screen.warn(str(exc))
        return []
    return [each for each in held if is_interrupted(each)]


def marked(entries: Sequence[HistoryEntry], dead: Iterable[Recovery]) -> list[HistoryEntry]:
    """Get *entries* with those marked that one of the *dead* recoveries was begun in."""
    runs = {recovery.resolution for recovery in dead}
    return [entry.model_copy(update={"is_interrupted": entry.run in runs}) for entry in entries]
