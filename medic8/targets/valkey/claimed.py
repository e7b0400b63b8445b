"""What every session on a server has: who the server is, and the claim on it."""

from __future__ import annotations

import valkey

from medic8.model.plan import Plan, Step
from medic8.model.recovery import Claim, Recovery
from medic8.targets.valkey import claim as claims
from medic8.targets.valkey.client import info, reached
from medic8.targets.valkey.identity import ground


class ClaimedServer:
    """
    One dedicated connection to a server, and the claim that guards what is changed through it.

    Attributes:
        url: Its address; never printed.
        claim: The claim that was taken or renewed last through this connection; None before that.
    """

    def __init__(self, client: valkey.Valkey, url: str) -> None:
        self._client = client
        self.url = url
        self.claim: Claim | None = None

    @reached
    def stands_on(self) -> str:
        """Run id, role and replication id."""
        return ground(self._client)

    def still_stands(self, recovery: Recovery) -> bool:
        """Whether the server is still what *recovery* was granted."""
        return bool(self.stands_on() == recovery.stands_on)

    def key_of(self, step: Step) -> bytes | None:
        """A key that *step* changes, in the slot of all that it changes; None if it changes no keys."""
        del step
        return None

    @reached
    def tags_of(self, plan: Plan) -> tuple[str, ...]:
        """The hash tags of the keys that *plan* changes, on a server in cluster mode; else none."""
        if not info(self._client, "cluster").get("cluster_enabled"):
            return ()
        steps = [step for unit in plan.units for step in unit.steps]
        return tuple(sorted({claims.tag_of(key) for step in steps if (key := self.key_of(step)) is not None}))

    @reached
    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `medic8.targets.valkey.claim.take`."""
        claims.introduce(self._client, claim)
        claims.take(self._client, claim, lasts_s=lasts_s)
        self.claim = claim

    @reached
    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `medic8.targets.valkey.claim.renew`."""
        if claim != self.claim:
            claims.introduce(self._client, claim)
        claims.renew(self._client, claim, lasts_s=lasts_s)
        self.claim = claim

    @reached
    def release_claim(self, claim: Claim) -> None:
        """See `medic8.targets.valkey.claim.release`."""
        claims.release(self._client, claim)

    @reached
    def cut_off(self, claim: Claim) -> None:
        """See `medic8.targets.valkey.claim.cut_off`."""
        claims.cut_off(self._client, claim)

    def claim_beside(self, claim: Claim, step: Step) -> bytes:
        """The key of the claim that guards what *step* changes."""
        return claims.place_for(claim, claims.database_of(self._client), self.key_of(step)).key

    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        """Values stay as they were saved unless a kind says otherwise."""
        del step
        return saved

    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """Steps leave no mark of their own unless a kind says so."""
        del step, recovery
        return None
