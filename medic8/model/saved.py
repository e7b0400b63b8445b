"""What recoveries saved: for how long it is kept, and what is still there."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from medic8.model.frozen import Frozen

#: Long enough for who comes back from a holiday to undo what was healed meanwhile.
KEEP_DAYS = 30


class Keep(Frozen):
    """
    For how long what a recovery saved is kept.

    Attributes:
        days: So many after it has ended, or after a person has acknowledged it; 0 = until the next pruning.
        mib: At most so many MiB of ended recoveries together, the oldest going first; None = no limit.
    """

    days: int = KEEP_DAYS
    mib: int | None = None


class Presence(StrEnum):
    """What is there of what a recovery saved, as seen from this machine."""

    NONE = "none"  #: nothing was saved
    KEPT = "kept"
    PRUNED = "pruned"  #: retention let go of it
    MISSING = "missing"  #: it should be there, and is not: another machine, or deleted by hand
    ALTERED = "altered"  #: it is there, and is not what was saved


class SavedState(Frozen):
    """
    What one recovery saved.

    Attributes:
        recovery: The recovery's id.
        target: The target's name.
        folder: Where it was saved; empty = nothing was.
        items: How many values.
        size_bytes: How large they are together.
        presence: What is there of it.
        problem: Why it is missing or altered; empty if it is neither.
        pruned_at: When retention let go of it.
        kept_until: Until when it is kept; None as long as the recovery is open or waits for a person.
    """

    recovery: str
    target: str
    folder: str = ""
    items: int = 0
    size_bytes: int = 0
    presence: Presence = Presence.NONE
    problem: str = ""
    pruned_at: datetime | None = None
    kept_until: datetime | None = None


class Decision(Frozen):
    """
    What becomes of one saved state.

    Attributes:
        saved: Which.
        stays_since: Why it stays; empty if it goes.
        goes_since: Why it goes; empty if it stays.
    """

    saved: SavedState
    stays_since: str = ""
    goes_since: str = ""


class Pruning(Frozen):
    """
    What pruning saved states came to.

    Attributes:
        is_dry_run: Whether nothing was removed.
        decisions: For each saved state that is there, the oldest first.
        freed_bytes: What was removed, or would be.
        leftovers: Folders of attempts that died while they saved; nothing had been changed then.
        approvals: Decided requests for approval that were forgotten, or would be.
        unknown: Folders of recoveries that this journal does not know; left alone.
        problems: What could not be removed, one sentence each; the next pruning tries again.
    """

    is_dry_run: bool
    decisions: tuple[Decision, ...] = ()
    freed_bytes: int = 0
    leftovers: tuple[str, ...] = ()
    approvals: int = 0
    unknown: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
