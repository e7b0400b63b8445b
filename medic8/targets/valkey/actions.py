"""Change a server by steps of several kinds, one atomic guarded act each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime

import valkey

from medic8.errors import RefusedError
from medic8.model.plan import Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.target import Resource, Target
from medic8.targets.kind import Holds, Surroundings
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.acts.busy_scripts import KillScriptAct, is_busy
from medic8.targets.valkey.acts.certificate import CertificateAct
from medic8.targets.valkey.acts.clients import KillClientAct
from medic8.targets.valkey.acts.expiry import ExpireKeyAct
from medic8.targets.valkey.acts.purge import PurgeAct
from medic8.targets.valkey.acts.resync import ResyncAct
from medic8.targets.valkey.acts.rewrite import RewriteAct
from medic8.targets.valkey.acts.scale import ScaleAct
from medic8.targets.valkey.acts.scripts import FlushScriptsAct
from medic8.targets.valkey.acts.settings import SettingAct
from medic8.targets.valkey.busy import BusyServerSession, busy_ground, busy_session
from medic8.targets.valkey.claimed import ClaimedServer
from medic8.targets.valkey.client import RECOVERY, connection, reached
from medic8.targets.valkey.identity import carries_on, ran_before, run_id_of, server_resources

#: Every kind of step on a server, by the name that a plan calls it.
ACTS: Mapping[str, Act] = {
    act.name: act
    for act in (
        SettingAct(),
        PurgeAct(),
        CertificateAct(),
        FlushScriptsAct(),
        ExpireKeyAct(),
        KillClientAct(),
        RewriteAct(),
        ResyncAct(),
        KillScriptAct(),
        ScaleAct(),
    )
}


class ServerSession(ClaimedServer):
    """One dedicated connection to a server, for changing it."""

    def __init__(self, target: Target, client: valkey.Valkey, now: datetime) -> None:
        super().__init__(client, target.address)
        self._now = now
        self._server = ActedOn(client, target, self.claim_beside)

    @reached
    def still_holds(self, recovery: Recovery) -> Holds:
        """
        Settings and connections live as long as the process: a restarted server holds none of them.

        At the same address another process may answer that has been running all
        the time, such as a promoted replica; what was set is not there, nor gone.
        Keys are where the data is carried on.
        """
        if self.still_stands(recovery):
            return Holds.YES
        if run_id_of(self.stands_on()) == run_id_of(recovery.stands_on):
            return Holds.YES  # its role changed, and its settings did not
        known = {resource.identity for resource in recovery.resources}
        if any(not act.is_of_process for act in _acts_of(recovery.plan.units)):
            return Holds.YES if carries_on(self._client, self.url, known) else Holds.SOMETHING_ELSE
        is_same_server = any(resource.identity in known for resource in self.resources())
        if not is_same_server or ran_before(self._client, recovery, self._now):
            return Holds.SOMETHING_ELSE
        return Holds.NOTHING

    @reached
    def still_stands(self, recovery: Recovery) -> bool:
        """
        Also if it was granted while a script kept the server busy, and the same process answers now.

        Of a busy server nothing but its address is known; a process that was
        running already when the recovery was opened is the one that was busy.
        Its clock stands still while it is busy, hence two seconds.
        """
        if recovery.stands_on == busy_ground(self.url):
            return ran_before(self._client, recovery, self._now, slack_s=-2.0)
        return super().still_stands(recovery)

    @reached
    def resources(self) -> tuple[Resource, ...]:
        """The server, by who it is and where it is."""
        return server_resources(self._client, self.url)

    def key_of(self, step: Step) -> bytes | None:
        """See `Act.key_of`."""
        return act_of(step).key_of(step)

    @reached
    def capture(self, step: Step) -> bytes | None:
        """See `Act.capture`."""
        return act_of(step).capture(self._server, step)

    @reached
    def prepare(self, step: Step) -> bytes | None:
        """See `Act.prepare`."""
        return act_of(step).prepare(self._server, step)

    @reached
    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """See `Act.swap`."""
        act_of(step).swap(self._server, step, expected, new, claim)

    @reached
    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        """See `Act.as_of_now`."""
        return act_of(step).as_of_now(self._server, step, saved)

    @reached
    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """See `Act.took_effect`."""
        return act_of(step).took_effect(self._server, step, recovery)

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        """See `Act.by_hand`; nothing can be typed for a value that was not there."""
        if value is None:
            return ()
        return act_of(step).by_hand(self.url, step, value, file=file, offset=offset)

    @reached
    def verify(self, unit: Unit) -> None:
        """See `Act.verify`."""
        acts = _acts_of((unit,))
        for act in dict.fromkeys(acts):
            steps = [step for step, of in zip(unit.steps, acts, strict=True) if of is act]
            act.verify(self._server, steps)


@contextlib.contextmanager
def open_session(target: Target, around: Surroundings) -> Iterator[ServerSession | BusyServerSession]:
    """Open the one connection for changing *target*, also where a script keeps it busy."""
    with contextlib.ExitStack() as stack:
        session: ServerSession | BusyServerSession
        try:
            client = stack.enter_context(
                connection(target.address, timeout_s=target.timeout_s, name=RECOVERY)
            )
        except RefusedError as refusal:
            if not is_busy(refusal):
                raise
            session = stack.enter_context(busy_session(target, refusal))
        else:
            session = ServerSession(target, client, around.now)
        yield session


def act_of(step: Step) -> Act:
    """
    The act that *step* names.

    Raises:
        RefusedError: there is none of that name.
    """
    if step.action not in ACTS:
        raise RefusedError(f"kind valkey has no action {step.action!r}; it has {', '.join(sorted(ACTS))}")
    return ACTS[step.action]


def _acts_of(units: tuple[Unit, ...]) -> list[Act]:
    return [act_of(step) for unit in units for step in unit.steps]
