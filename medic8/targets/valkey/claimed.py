"""What every session on a server has: who the server is, and the claim on it."""

from __future__ import annotations

import valkey

from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.targets.valkey import claim as claims
from medic8.targets.valkey.client import reached
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

    @reached
    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `medic8.targets.valkey.claim.take`."""
        claims.take(self._client, claim, lasts_s=lasts_s)
        self.claim = claim

    @reached
    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `medic8.targets.valkey.claim.renew`."""
        claims.renew(self._client, claim, lasts_s=lasts_s)
        self.claim = claim

    @reached
    def release_claim(self, claim: Claim) -> None:
        """See `medic8.targets.valkey.claim.release`."""
        claims.release(self._client, claim)

    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """Steps leave no mark of their own unless a kind says so."""
        del step, recovery
        return None
