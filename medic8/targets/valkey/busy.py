"""
A server on which a script runs and that answers nothing else, as a session that can end the script.

It refuses INFO, GET and everything else by which a server is told from another
one, and no claim can be laid in it. See docs/adr/0014-a-busy-server.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import valkey
import valkey.exceptions

from medic8.errors import RefusedError, TransientError
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.target import Resource, Target
from medic8.targets.kind import Holds
from medic8.targets.valkey import claim as claims
from medic8.targets.valkey.acts.act import ActedOn
from medic8.targets.valkey.acts.busy_scripts import KILL_SCRIPT, KillScriptAct
from medic8.targets.valkey.address import place
from medic8.targets.valkey.client import reached, unasked_connection
from medic8.targets.valkey.identity import address_of

_GROUND = "busy"


def busy_ground(url: str) -> str:
    """On what a recovery stands that was granted while the server at *url* was busy."""
    return f"{_GROUND} address={place(url)}"


class BusyServerSession:
    """One dedicated connection to a server that a script keeps busy; see `medic8.targets.kind.Session`."""

    def __init__(self, target: Target, client: valkey.Valkey, refusal: RefusedError) -> None:
        self.url = target.address
        self._client = client
        self._refusal = refusal
        self._act = KillScriptAct()
        self._server = ActedOn(client, target, lambda _, __: claims.CLAIM_KEY)

    def resources(self) -> tuple[Resource, ...]:
        """The server by its address, which is all that is known of it."""
        return (address_of(self.url),)

    def stands_on(self) -> str:
        """See `busy_ground`."""
        return busy_ground(self.url)

    def still_stands(self, recovery: Recovery) -> bool:
        """
        Whether *recovery* was granted here and while the server was busy.

        Raises:
            TransientError: it works on something that a busy server does not tell of.
        """
        if recovery.stands_on != self.stands_on():
            raise TransientError(f"{self._refusal}; call again when it is over") from self._refusal
        return True

    def still_holds(self, recovery: Recovery) -> Holds:
        """See `still_stands`."""
        return Holds.YES if self.still_stands(recovery) else Holds.SOMETHING_ELSE

    def tags_of(self, plan: Plan) -> tuple[str, ...]:
        """
        None: what is done here changes no key.

        Raises:
            RefusedError: *plan* does something that a busy server refuses.
        """
        for unit in plan.units:
            for step in unit.steps:
                self._require_kill(step)
        return ()

    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """A busy server holds no claim; the journal's grant of the address is what there is."""
        del claim, lasts_s

    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """See `take_claim`."""
        del claim, lasts_s

    @reached
    def release_claim(self, claim: Claim) -> None:
        """Take away one that a session laid in a moment when the server was not busy."""
        with contextlib.suppress(valkey.exceptions.ResponseError):
            claims.release(self._client, claim)

    def cut_off(self, claim: Claim) -> None:
        """A busy server lists nobody."""
        del claim

    @reached
    def capture(self, step: Step) -> bytes | None:
        """See `KillScriptAct.capture`."""
        self._require_kill(step)
        return self._act.capture(self._server, step)

    @reached
    def prepare(self, step: Step) -> bytes | None:
        """See `KillScriptAct.prepare`."""
        self._require_kill(step)
        return self._act.prepare(self._server, step)

    @reached
    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """See `KillScriptAct.swap`."""
        self._require_kill(step)
        self._act.swap(self._server, step, expected, new, claim)

    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        """Nothing is ever put back."""
        del step
        return saved

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        """Nothing can be put back by hand either."""
        del step, value, file, offset
        return ()

    @reached
    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """See `KillScriptAct.took_effect`."""
        return self._act.took_effect(self._server, step, recovery)

    @reached
    def verify(self, unit: Unit) -> None:
        """See `KillScriptAct.verify`."""
        self._act.verify(self._server, unit.steps)

    def _require_kill(self, step: Step) -> None:
        if step.action != KILL_SCRIPT:
            raise self._refusal


@contextlib.contextmanager
def busy_session(target: Target, refusal: RefusedError) -> Iterator[BusyServerSession]:
    """Open the one connection to a server that answered *refusal*; it would refuse to select a database."""
    with unasked_connection(_without_database(target.address), timeout_s=target.timeout_s) as client:
        yield BusyServerSession(target, client, refusal)


def _without_database(url: str) -> str:
    parts = urlsplit(url)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "db"])
    path = parts.path if parts.scheme == "unix" else ""
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
