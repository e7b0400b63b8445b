"""Change a server's settings, one atomic guarded act each."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator
from datetime import datetime

import valkey
import valkey.exceptions

from medic8.errors import ChangedError, FencedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.target import Resource, Target
from medic8.targets.kind import Holds, Surroundings
from medic8.targets.valkey import claim as claims
from medic8.targets.valkey.by_hand import cli, stretch
from medic8.targets.valkey.claimed import ClaimedServer
from medic8.targets.valkey.client import RECOVERY, connection, reached, setting, was_cut_off
from medic8.targets.valkey.identity import ran_before, run_id_of, server_resources

SET_SETTING = "set_setting"

#: A setting must stay as it was set for this long: a controller that owns it sets it back within seconds.
_HOLDS_S = 2.0
_LOOKS = 5


class SetSetting(Frozen):
    """
    Arguments of the action ``set_setting``.

    Attributes:
        name: The setting's name.
        found: The value that the plan was made for.
        value: The value to set, as ``CONFIG GET`` shows it.
    """

    name: str
    found: str
    value: str


class ServerSession(ClaimedServer):
    """One dedicated connection to a server, for changing its settings."""

    def __init__(self, target: Target, client: valkey.Valkey, now: datetime) -> None:
        super().__init__(client, target.address)
        self._target = target
        self._now = now

    @reached
    def still_holds(self, recovery: Recovery) -> Holds:
        """
        Settings live as long as the process: a restarted server holds none of them.

        At the same address another process may answer that has been running all
        the time, such as a promoted replica; what was set is not there, nor gone.
        """
        if self.stands_on() == recovery.stands_on:
            return Holds.YES
        if run_id_of(self.stands_on()) == run_id_of(recovery.stands_on):
            return Holds.YES  # its role changed, and its settings did not
        known = {resource.identity for resource in recovery.resources}
        is_same_server = any(resource.identity in known for resource in self.resources())
        if not is_same_server or ran_before(self._client, recovery, self._now):
            return Holds.SOMETHING_ELSE
        return Holds.NOTHING

    @reached
    def resources(self) -> tuple[Resource, ...]:
        """The server, by who it is and where it is."""
        return server_resources(self._client, self.url)

    @reached
    def capture(self, step: Step) -> bytes | None:
        """The setting's present value; None if the server has no such setting."""
        return _read(self._client, _arguments(step).name)

    @reached
    def prepare(self, step: Step) -> bytes | None:
        """
        The value that the plan names.

        Raises:
            ChangedError: the setting is no longer what the plan was made for.
        """
        ask = _arguments(step)
        present = _read(self._client, ask.name)
        if present != ask.found.encode():
            raise ChangedError(
                f"setting {ask.name!r} was {ask.found!r} when it was planned for, and is {_shown(present)}"
            )
        return ask.value.encode()

    @reached
    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """
        Set the setting if it still has the value *expected*.

        Settings cannot be watched, so between the comparison and the change
        lies one round trip in which somebody else could set it; the claim,
        which can be watched, is exact. A value that the server takes for another
        one (a number beyond its own limit) is taken back at once.
        """
        name = _arguments(step).name
        if new is None:
            raise RefusedError(f"setting {name!r} cannot be taken away from a server")
        with self._client.pipeline() as pipe:
            claims.guard(pipe, claim, self.claim_beside(claim, step))
            found = _read(pipe, name)
            if found != expected:
                raise ChangedError(
                    f"setting {name!r} was changed by somebody else: expected {_shown(expected)}, "
                    f"found {_shown(found)}"
                )
            pipe.multi()
            pipe.config_set(name, new.decode())
            pipe.config_get(name)
            try:
                became = pipe.execute()[1].get(name)
            except valkey.exceptions.WatchError as exc:
                if was_cut_off(exc):
                    raise
                raise FencedError("the claim on the server changed at the same moment") from exc
        if became != new.decode():
            if expected is not None:
                self._take_back(step, expected, claim)
            raise RefusedError(f"setting {name!r}: the server made {became!r} of {new.decode()!r}")

    def _take_back(self, step: Step, value: bytes, claim: Claim) -> None:
        """Set what was there before, if the server is still ours; whoever took it over does so else."""
        with self._client.pipeline() as pipe:
            claims.guard(pipe, claim, self.claim_beside(claim, step))
            pipe.multi()
            pipe.config_set(_arguments(step).name, value.decode())
            pipe.execute()

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        """One command that sets the setting again."""
        if value is None:
            return ()
        name = shlex.quote(_arguments(step).name)
        return (f'{cli(self.url)} CONFIG SET {name} "$({stretch(file, offset, len(value))})"',)

    @reached
    def verify(self, unit: Unit) -> None:
        """Look, several times over two seconds, whether every setting stays; and whether clients get in."""
        wanted = [_arguments(step) for step in unit.steps]
        for look in range(_LOOKS):
            if look:
                time.sleep(_HOLDS_S / (_LOOKS - 1))
            for ask in wanted:
                found = _read(self._client, ask.name)
                if found != ask.value.encode():
                    raise VerifyError(
                        f"setting {ask.name!r} did not stay: set to {ask.value!r}, found "
                        f"{_shown(found)} after {_HOLDS_S * look / (_LOOKS - 1):.1f} s; "
                        "something else sets it back"
                    )
        with connection(self._target.address, timeout_s=self._target.timeout_s) as another:
            another.ping()


@contextlib.contextmanager
def open_session(target: Target, around: Surroundings) -> Iterator[ServerSession]:
    """Open the one connection for changing *target*."""
    with connection(target.address, timeout_s=target.timeout_s, name=RECOVERY) as client:
        yield ServerSession(target, client, around.now)


def _arguments(step: Step) -> SetSetting:
    if step.action != SET_SETTING:
        raise RefusedError(f"kind valkey has no action {step.action!r}; it has {SET_SETTING!r}")
    return SetSetting.model_validate(step.arguments)


def _read(client: valkey.Valkey, name: str) -> bytes | None:
    value = setting(client, name)
    return None if value is None else value.encode()


def _shown(value: bytes | None) -> str:
    return "nothing" if value is None else repr(value.decode(errors="replace"))
