"""Give one key an expiry: restorable, until that has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import valkey
import valkey.exceptions
from pydantic import Field

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.target import LEAST_EXPIRY_S
from medic8.model.wording import shown
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.by_hand import cli
from medic8.targets.valkey.client import info, was_cut_off

EXPIRE_KEY = "expire_key"

_NEVER = b"never"

#: Answers of PEXPIRETIME beside a time. Source: Valkey documentation, PEXPIRETIME.
_NO_EXPIRY, _NO_KEY = -1, -2

#: Keys of grids and of Medic8 itself.
OURS = (b"m8:", b"medic8:")


class ExpireKey(Frozen):
    """
    Arguments of the action ``expire_key``.

    Attributes:
        key: The key's name in hexadecimal digits, since it may be any bytes.
        after_s: How long from the moment it is set, by the server's clock.
    """

    key: str = Field(pattern=r"^([0-9a-f]{2})+$")
    after_s: int = Field(ge=LEAST_EXPIRY_S)

    @property
    def name(self) -> bytes:
        """The key's name."""
        return bytes.fromhex(self.key)


class ExpireKeyAct(Act):
    """``PEXPIREAT KEY TIME NX``; taken back by ``PERSIST``, where the expiry is still ours."""

    name = EXPIRE_KEY
    is_of_process = False

    def key_of(self, step: Step) -> bytes:
        """The key."""
        return _arguments(step).name

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """When it expires, in Unix milliseconds, or that it never does; None if it is not there."""
        return _expiry(server.client, _arguments(step).name)

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """A time so much after now by the server's clock."""
        ask = _arguments(step)
        who = f"key {shown(ask.name)}"
        if ask.name.startswith(OURS):
            raise RefusedError(f"{who} is of a grid or of Medic8: it must not expire")
        if info(server.client, "cluster").get("cluster_enabled"):
            raise RefusedError(f"{who} lies in a cluster, where nothing is changed yet")
        found = _expiry(server.client, ask.name)
        if found != _NEVER:
            raise ChangedError(f"{who} {'is gone' if found is None else 'has an expiry'} by now")
        seconds, micros = cast("tuple[int, int]", server.client.time())
        return str((seconds + ask.after_s) * 1000 + micros // 1000).encode()

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Set or take the expiry, if key and claim are as they were; both are watched."""
        name = _arguments(step).name
        with server.guarded(claim, step) as pipe:
            pipe.watch(name)
            if (found := _expiry(pipe, name)) != expected or found is None or new is None:
                raise ChangedError(f"key {shown(name)} was changed by somebody else")
            pipe.multi()
            if new == _NEVER:
                pipe.persist(name)
            else:
                pipe.execute_command("PEXPIREAT", name, int(new), *(("NX",) if expected == _NEVER else ()))
            try:
                pipe.execute()
            except valkey.exceptions.WatchError as exc:
                if was_cut_off(exc):
                    raise
                with server.guarded(claim, step):
                    raise ChangedError(f"key {shown(name)} was changed at the same moment") from exc

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """Each expires, or has gone by itself."""
        for step in steps:
            name = _arguments(step).name
            if _expiry(server.client, name) == _NEVER:
                raise VerifyError(f"key {shown(name)} never expires")

    def by_hand(self, url: str, step: Step, value: bytes, *, file: str, offset: int) -> tuple[str, ...]:
        """``PERSIST``, with the name as bytes."""
        del value, file, offset
        name = "".join(f"\\{byte:03o}" for byte in _arguments(step).name)
        return (f"printf '{name}' | {cli(url)} -x PERSIST",)


def _arguments(step: Step) -> ExpireKey:
    return ExpireKey.model_validate(step.arguments)


def _expiry(client: valkey.Valkey, name: bytes) -> bytes | None:
    at_ms = int(client.execute_command("PEXPIRETIME", name))
    if at_ms == _NO_KEY:
        return None
    return _NEVER if at_ms == _NO_EXPIRY else str(at_ms).encode()
