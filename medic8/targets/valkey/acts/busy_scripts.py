"""End a script or function that goes on and on: one-way, and only as long as it has written nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import valkey
import valkey.exceptions

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.wording import as_text, shown
from medic8.targets.valkey.acts.act import Act, ActedOn

KILL_SCRIPT = "kill_script"

#: A script is stopped at one of its next instructions.
_PATIENCE_S = 10.0
_PAUSE_S = 0.05


class KillScript(Frozen):
    """
    Arguments of the action ``kill_script``.

    Attributes:
        kind: What runs.
        name: The function's name; of a script the server tells nothing.
    """

    kind: Literal["script", "function"]
    name: str = ""


class KillScriptAct(Act):
    """``SCRIPT KILL`` or ``FUNCTION KILL``; the server refuses it once something was written."""

    name = KILL_SCRIPT

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """What makes the server busy; None if nothing does."""
        del step
        return what_runs(server.client)

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """Nothing is to run."""
        _require_it_is_meant(what_runs(server.client), step)
        return None

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """
        End it, if it is what was meant.

        A busy server compares no claim: that the recovery is ours is what the
        journal said right before (docs/adr/0014-a-busy-server.md).
        """
        del claim
        if new is not None:
            raise RefusedError("a script that was ended cannot be started again")
        found = what_runs(server.client)
        _require_it_is_meant(found, step)
        if found != expected:
            raise ChangedError(f"{_called(found)} runs by now, and not {_called(expected)}")
        try:
            server.client.execute_command(_arguments(step).kind.upper(), "KILL")
        except valkey.exceptions.ResponseError as exc:
            if str(exc).startswith("UNKILLABLE"):
                raise RefusedError(
                    f"{_called(found)} has written already, and the server does not let it be ended. It ends "
                    "by itself, or with the server: SHUTDOWN NOSAVE, which loses what was not saved and is a "
                    "person's decision"
                ) from exc
            if str(exc).startswith(("NOTBUSY", "BUSY")):
                raise ChangedError(f"{_called(found)} is over already") from exc
            raise

    def took_effect(self, server: ActedOn, step: Step, recovery: str) -> bool | None:
        """Whether nothing runs any more; it does not matter who ended it."""
        del step, recovery
        return what_runs(server.client) is None

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """Wait until the server answers."""
        del steps
        for _ in range(int(_PATIENCE_S / _PAUSE_S)):
            if (found := what_runs(server.client)) is None:
                return
            time.sleep(_PAUSE_S)
        raise VerifyError(f"{_called(found)} still runs after {_PATIENCE_S:.0f} s")


def what_runs(client: valkey.Valkey) -> bytes | None:
    """What makes the server busy: ``script``, or ``function NAME``; None if it answers."""
    try:
        client.ping()
    except valkey.exceptions.ResponseError as exc:
        if not is_busy(exc):
            raise
        if "FUNCTION KILL" not in str(exc):
            return b"script"
        name = running_function(client.execute_command("FUNCTION", "STATS"))
        return None if name is None else b"function " + name
    return None


def is_busy(error: Exception) -> bool:
    """Whether *error*, in the server's words or ours, says that a script runs."""
    return "BUSY " in str(error) and " KILL" in str(error)


def running_function(stats: object) -> bytes | None:
    """The name of the function that runs, in a reply to FUNCTION STATS; None if none does."""
    fields = dict(zip(stats[::2], stats[1::2], strict=False)) if isinstance(stats, list) else {}
    running = fields.get(b"running_script")
    told = dict(zip(running[::2], running[1::2], strict=False)) if isinstance(running, list) else {}
    name = told.get(b"name")
    return name if isinstance(name, bytes) else None


def _arguments(step: Step) -> KillScript:
    return KillScript.model_validate(step.arguments)


def _require_it_is_meant(found: bytes | None, step: Step) -> None:
    ask = _arguments(step)
    if found is None:
        raise ChangedError(f"the {ask.kind} is over already")
    meant = b"script" if ask.kind == "script" else b"function"
    kind, _, name = found.partition(b" ")
    if kind != meant or (ask.kind == "function" and as_text(name) != ask.name):
        raise ChangedError(f"{_called(found)} runs by now, and not the {ask.kind} {shown(ask.name)}".strip())


def _called(found: bytes | None) -> str:
    return "nothing" if found is None else f"the {shown(found)}"
