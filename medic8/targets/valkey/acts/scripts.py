"""Drop the cached scripts: one-way, and told afterwards by how many there are."""

from __future__ import annotations

from collections.abc import Sequence

import valkey
from pydantic import Field

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.client import info

FLUSH_SCRIPTS = "flush_scripts"

_MANY = b"too many scripts"


class FlushScripts(Frozen):
    """
    Arguments of the action ``flush_scripts``.

    Attributes:
        least: So many scripts must be cached, else there is nothing to be done.
    """

    least: int = Field(ge=1)


class FlushScriptsAct(Act):
    """``SCRIPT FLUSH ASYNC``; who calls a script by its digest afterwards is told NOSCRIPT once."""

    name = FLUSH_SCRIPTS

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """Whether too many are cached: their number changes by itself, and is no part of it."""
        return _seen(server.client, step)

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """No script is to be left."""
        least = _arguments(step).least
        if (count := _count(server.client)) < least:
            raise ChangedError(f"{count:,} scripts are cached by now, fewer than {least:,}")
        return None

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Drop them, guarded by the claim."""
        if new is not None:
            raise RefusedError("scripts that were dropped cannot be cached again but by who has them")
        with server.guarded(claim, step) as pipe:
            if _seen(pipe, step) != expected:
                raise ChangedError("the cached scripts were dropped by somebody else")
            pipe.multi()
            pipe.execute_command("SCRIPT", "FLUSH", "ASYNC")
            server.carry_out(pipe, claim, step)

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """There are no longer too many."""
        for step in steps:
            least = _arguments(step).least
            if (count := _count(server.client)) >= least:
                raise VerifyError(f"{count:,} scripts are cached, which must be fewer than {least:,}")


def _arguments(step: Step) -> FlushScripts:
    return FlushScripts.model_validate(step.arguments)


def _seen(client: valkey.Valkey, step: Step) -> bytes | None:
    return _MANY if _count(client) >= _arguments(step).least else None


def _count(client: valkey.Valkey) -> int:
    return int(info(client, "memory")["number_of_cached_scripts"])
