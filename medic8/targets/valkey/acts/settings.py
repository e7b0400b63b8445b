"""Set one setting: restorable, since it can be set to what it was."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence

import valkey

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.by_hand import cli, stretch
from medic8.targets.valkey.client import connection, info, setting

SET_SETTING = "set_setting"

_LIMIT, _POLICY = "maxmemory", "maxmemory-policy"

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


class SettingAct(Act):
    """Change a setting, one atomic guarded act."""

    name = SET_SETTING

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """The setting's present value; None if the server has no such setting."""
        return _read(server.client, _arguments(step).name)

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """The value that the plan names."""
        ask = _arguments(step)
        present = _read(server.client, ask.name)
        if present != ask.found.encode():
            raise ChangedError(
                f"setting {ask.name!r} was {ask.found!r} when it was planned for, and is {_shown(present)}"
            )
        return ask.value.encode()

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """
        Set the setting if it still has the value *expected*.

        Settings cannot be watched, so between the comparison and the change
        lies one round trip in which somebody else could set it; the claim,
        which can be watched, is exact. A value that the server takes for another
        one (a number beyond its own limit) is taken back at once. A memory limit
        is never lowered so that the server would throw keys away for it.
        """
        name = _arguments(step).name
        if new is None:
            raise RefusedError(f"setting {name!r} cannot be taken away from a server")
        with server.guarded(claim, step) as pipe:
            found = _read(pipe, name)
            if found != expected:
                raise ChangedError(
                    f"setting {name!r} was changed by somebody else: expected {_shown(expected)}, "
                    f"found {_shown(found)}"
                )
            if name == _LIMIT:
                _require_nothing_evicted(pipe, found, new)
            pipe.multi()
            pipe.config_set(name, new.decode())
            pipe.config_get(name)
            answer = server.carry_out(pipe, claim, step)[1]
        became = answer.get(name) if isinstance(answer, dict) else None
        if became != new.decode():
            if expected is not None:
                _take_back(server, step, expected, claim)
            raise RefusedError(f"setting {name!r}: the server made {became!r} of {new.decode()!r}")

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """Look, several times over two seconds, whether every setting stays; and whether clients get in."""
        wanted = [_arguments(step) for step in steps]
        for look in range(_LOOKS):
            if look:
                time.sleep(_HOLDS_S / (_LOOKS - 1))
            for ask in wanted:
                found = _read(server.client, ask.name)
                if found != ask.value.encode():
                    raise VerifyError(
                        f"setting {ask.name!r} did not stay: set to {ask.value!r}, found "
                        f"{_shown(found)} after {_HOLDS_S * look / (_LOOKS - 1):.1f} s; "
                        "something else sets it back"
                    )
        with connection(server.target.address, timeout_s=server.target.timeout_s) as another:
            another.ping()

    def by_hand(self, url: str, step: Step, value: bytes, *, file: str, offset: int) -> tuple[str, ...]:
        """One command that sets the setting again."""
        name = shlex.quote(_arguments(step).name)
        return (f'{cli(url)} CONFIG SET {name} "$({stretch(file, offset, len(value))})"',)


def _require_nothing_evicted(client: valkey.Valkey, found: bytes | None, new: bytes) -> None:
    """See that the memory limit *new* evicts nothing; somebody may have set another policy since."""
    was, becomes = int(found or 0), int(new)
    if not becomes or (was and becomes >= was):  # 0 is no limit
        return
    policy, used = setting(client, _POLICY), int(info(client, "memory")["used_memory"])
    if policy != "noeviction" and used >= becomes:
        raise ChangedError(
            f"{_POLICY} is {policy!r} by now: with {_LIMIT} {becomes:,} the server would evict keys, since "
            f"{used:,} bytes are used"
        )


def _take_back(server: ActedOn, step: Step, value: bytes, claim: Claim) -> None:
    """Set what was there before, if the server is still ours; whoever took it over does so else."""
    with server.guarded(claim, step) as pipe:
        pipe.multi()
        pipe.config_set(_arguments(step).name, value.decode())
        server.carry_out(pipe, claim, step)


def _arguments(step: Step) -> SetSetting:
    return SetSetting.model_validate(step.arguments)


def _read(client: valkey.Valkey, name: str) -> bytes | None:
    value = setting(client, name)
    return None if value is None else value.encode()


def _shown(value: bytes | None) -> str:
    return "nothing" if value is None else repr(value.decode(errors="replace"))
