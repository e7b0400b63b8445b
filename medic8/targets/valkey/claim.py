"""Mark a server as being repaired, so that two journals never repair it at once."""

from __future__ import annotations

from typing import cast

import valkey
import valkey.exceptions
from valkey.client import Pipeline

from medic8.errors import ClaimedError, FencedError
from medic8.model.recovery import Claim

#: One for each database of a server; every change is guarded by its content, byte for byte.
CLAIM_KEY = b"medic8:claim"


def take(client: valkey.Valkey, claim: Claim, *, lasts_s: float) -> None:
    """
    Put *claim* on the server for *lasts_s* seconds of the server's clock.

    An older claim of the same journal is replaced: the journal has granted the
    resource to this recovery, so the older one has ended.

    Raises:
        ClaimedError: a recovery of another journal holds the server.
        FencedError: the claim changed while it was being taken.
    """
    lasts_ms = int(lasts_s * 1000)
    if client.set(CLAIM_KEY, claim.content, nx=True, px=lasts_ms):
        return
    with client.pipeline() as pipe:
        pipe.watch(CLAIM_KEY)
        holder = _present(pipe) or b""
        if holder and holder.split(b" ")[0] != claim.journal.encode():
            left_ms = cast("int", pipe.pttl(CLAIM_KEY))
            lapses = (
                f"its claim lapses in {left_ms / 1000:.0f} s"
                if left_ms >= 0
                else f"its claim has no expiry; if nobody repairs there: DEL {CLAIM_KEY.decode()}"
            )
            raise ClaimedError(
                f"the server is being repaired by recovery {_name(holder)} of another journal; {lapses}"
            )
        pipe.multi()
        pipe.set(CLAIM_KEY, claim.content, px=lasts_ms)
        _execute(pipe)


def renew(client: valkey.Valkey, claim: Claim, *, lasts_s: float) -> None:
    """
    Hold *claim* for *lasts_s* more seconds.

    Raises:
        FencedError: it is gone or another's.
    """
    with client.pipeline() as pipe:
        guard(pipe, claim)
        pipe.multi()
        pipe.pexpire(CLAIM_KEY, int(lasts_s * 1000))
        _execute(pipe)


def release(client: valkey.Valkey, claim: Claim) -> None:
    """Take *claim* away if it is still there; another's is left alone."""
    with client.pipeline() as pipe:
        pipe.watch(CLAIM_KEY)
        if _present(pipe) != claim.content:
            return
        pipe.multi()
        pipe.delete(CLAIM_KEY)
        try:
            pipe.execute()
        except valkey.exceptions.WatchError:
            return


def guard(pipe: Pipeline, claim: Claim) -> None:
    """
    Watch the claim: what *pipe* executes later happens only if *claim* holds until then.

    Raises:
        FencedError: the claim is gone or another's; fails closed.
    """
    pipe.watch(CLAIM_KEY)
    present = _present(pipe)
    if present != claim.content:
        holder = f"recovery {_name(present)} holds it" if present else "it is gone"
        raise FencedError(f"the claim of recovery {claim.recovery} on the server was lost: {holder}")


def _present(pipe: Pipeline) -> bytes | None:
    return cast("bytes | None", pipe.get(CLAIM_KEY))


def _execute(pipe: Pipeline) -> None:
    try:
        pipe.execute()
    except valkey.exceptions.WatchError as exc:
        raise FencedError("the claim on the server changed at the same moment") from exc


def _name(content: bytes) -> str:
    parts = content.decode(errors="replace").split(" ")
    return parts[1] if len(parts) > 1 else "unknown"
