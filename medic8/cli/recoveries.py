"""What the journal knows of recoveries that have not ended as they should."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medic8.cli.call import Call


def tell_of_recoveries(call: Call, target: str) -> bool:
    """
    Say which recoveries of *target* died half way or wait for a person.

    Returns:
        Whether one waits for a person.
    """
    from medic8.model.recovery import RecoveryState
    from medic8.model.wording import moment
    from medic8.recovery.interrupted import is_interrupted
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
                f"recovery {recovery.id} died half way ({since}); medic8 heal {target} ends it first"
            )
        else:
            call.screen.say(f"recovery {recovery.id} is under way ({since})")
    return waits
