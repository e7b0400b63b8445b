"""Have the allocator give memory back that nothing uses: harmless, nothing is there to be put back."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.errors import RefusedError
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.targets.valkey.acts.act import Act, ActedOn

PURGE_MEMORY = "purge_memory"


class PurgeAct(Act):
    """``MEMORY PURGE``; what it gave back is seen by the diagnosis afterwards."""

    name = PURGE_MEMORY

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """Nothing is changed that could be saved."""
        del server, step
        return None

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """Nothing is written."""
        del server, step
        return None

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Purge, guarded by the claim."""
        if expected is not None or new is not None:
            raise RefusedError("a purge writes nothing and puts nothing back")
        with server.guarded(claim, step) as pipe:
            pipe.multi()
            pipe.memory_purge()
            server.carry_out(pipe, claim, step)

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """The server answers; whether memory came back is for the new diagnosis to say."""
        del steps
        server.client.ping()
