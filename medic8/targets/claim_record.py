"""What a claim says, wherever a target keeps it."""

from __future__ import annotations

from medic8.errors import ClaimedError, FencedError
from medic8.model.recovery import Claim


def require_replaceable(holder: bytes, claim: Claim, *, what: str, lapses: str) -> None:
    """
    See that *claim* may take the place of what *holder* says.

    An older claim of the same journal may be replaced: the journal has granted the
    resource to this recovery, so the older one has ended. One with a higher fence
    may not: that recovery was granted later, or this one was taken over.

    Args:
        holder: The claim that is there; empty if there is none.
        claim: What is to be put there.
        what: What is claimed, as ``the server``.
        lapses: When the claim that is there lapses, for a person.
    Raises:
        ClaimedError: a recovery of another journal holds it.
        FencedError: a later one of this journal holds it.
    """
    if holder and not _is_of(claim.journal, holder):
        raise ClaimedError(
            f"{what} is being repaired by recovery {holder_of(holder)} of another journal; {lapses}"
        )
    if _number(holder) > claim.fence.number:
        raise FencedError(f"recovery {holder_of(holder)} has claimed {what} since")


def holder_of(content: bytes) -> str:
    """The id of the recovery that *content* is the claim of."""
    parts = content.decode(errors="replace").split(" ")
    return parts[1] if len(parts) > 1 else "unknown"


def is_superseded(content: bytes, claim: Claim) -> bool:
    """Whether *content* is *claim*, or an earlier one of the same recovery."""
    is_same = content.split(b" ")[:2] == claim.content.split(b" ")[:2]
    return content == claim.content or (is_same and _number(content) < claim.fence.number)


def _is_of(journal: str, content: bytes) -> bool:
    return content.split(b" ")[0] == journal.encode()


def _number(content: bytes) -> int:
    """The number of the fence in *content*; 0 if there is none to be read."""
    number = content.rpartition(b" ")[2].partition(b":")[0]
    return int(number) if number.isdigit() else 0
