"""Close one client's connection: one-way, and told afterwards by who is connected."""

from __future__ import annotations

from collections.abc import Sequence

import valkey.exceptions
from pydantic import Field

from medic8.errors import ChangedError, RefusedError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.targets.facts import Facts
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.looks.clients import has_own_address, parse_list, what_it_is_in
from medic8.targets.valkey.looks.dead_clients import without_peer

KILL_CLIENT = "kill_client"


class KillClient(Frozen):
    """
    Arguments of the action ``kill_client``.

    Attributes:
        client: The connection's number, which the server never gives again while it runs.
        address: Where it comes from.
        user: As whom it is logged in.
        name: What it calls itself; may be empty.
        least: What it must still show to be closed, by the field of CLIENT LIST: ``{"omem": 8388608}``.
        flag: A flag that it must still have, such as ``O`` of one that watches every command.
        is_dead: Whether the kernel of this machine must still prove that nobody is at its other end.
        command: What it must have sent last, as CLIENT LIST calls it; empty for anything.
    """

    client: int = Field(ge=1)
    address: str
    user: str = ""
    name: str = ""
    least: dict[str, int] = Field(default_factory=dict)
    flag: str = ""
    is_dead: bool = False
    command: str = ""


class KillClientAct(Act):
    """``CLIENT KILL``; a command that the client has sent already is carried out all the same."""

    name = KILL_CLIENT

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """
        Who the connection is; None if it is closed.

        Nothing that changes by itself, or that its owner changes at will, is part of it.
        """
        found = _listed(server.client, _arguments(step).client)
        return None if found is None else _identity(found)

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """Nothing is to be left of the connection."""
        ask = _arguments(step)
        found = _listed(server.client, ask.client)
        if found is None:
            raise ChangedError(f"client {ask.client} has left by itself")
        _require_it_is_meant(found, ask, own=_own_number(server.client))
        return None

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Close it, if it is who was meant; the server compares number, address and kind once more."""
        ask = _arguments(step)
        if new is not None:
            raise RefusedError(f"client {ask.client}: a connection that was closed cannot be opened again")
        with server.guarded(claim, step) as pipe:
            found = _listed(pipe, ask.client)
            if found is None or _identity(found) != expected:
                raise ChangedError(f"client {ask.client} has left by itself")
            _require_it_is_meant(found, ask, own=_own_number(pipe))
            pipe.multi()
            pipe.execute_command(
                *("CLIENT", "KILL", "ID", ask.client, "ADDR", ask.address, "TYPE", "normal", "SKIPME", "yes")
            )
            server.carry_out(pipe, claim, step)

    def took_effect(self, server: ActedOn, step: Step, recovery: str) -> bool | None:
        """Whether the connection is closed; it does not matter by whom."""
        del recovery
        return _listed(server.client, _arguments(step).client) is None

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """None of them is connected any more."""
        for step in steps:
            ask = _arguments(step)
            if _listed(server.client, ask.client) is not None:
                raise VerifyError(f"client {ask.client} at {ask.address} is still connected")


def _arguments(step: Step) -> KillClient:
    return KillClient.model_validate(step.arguments)


def _listed(client: valkey.Valkey, number: int) -> Facts | None:
    """A connection as CLIENT LIST has it; None if there is none of that number any more."""
    lines = parse_list(client.execute_command("CLIENT", "LIST", "ID", number))
    return next((line for line in lines if line.whole("id") == number), None)


def _identity(found: Facts) -> bytes:
    return " ".join(f"{name}={found.get(name, '')}" for name in ("id", "addr", "user")).encode()


def _own_number(client: valkey.Valkey) -> int | None:
    """The number of our own connection; None if we may not ask for it: then SKIPME alone spares it."""
    try:
        return int(client.execute_command("CLIENT", "ID"))
    except valkey.exceptions.ResponseError:
        return None


def _require_it_is_meant(found: Facts, ask: KillClient, *, own: int | None) -> None:
    """
    Check that a connection is who the plan means, and may be closed.

    What it calls itself does not count, since anybody may call himself a recovery. A connection of another
    recovery can do nothing here while we hold the claim.

    Args:
        found: As CLIENT LIST has it.
        ask: What the plan says.
        own: The number of our own connection.
    Raises:
        ChangedError: it is somebody else, or does no longer what it is to be closed for.
        RefusedError: it is none that a plan may close.
    """
    who = f"client {ask.client} at {ask.address}"
    if (found.get("addr"), found.get("user", ask.user)) != (ask.address, ask.user):
        raise ChangedError(f"{who} is another one by now, at {found.text('addr')}")
    if ask.client == own:
        raise RefusedError(f"{who} is the recovery's own connection: no plan closes it")
    if wrong := what_it_is_in(found):
        raise RefusedError(f"{who} {wrong}: no plan closes it")
    if ask.command and not has_own_address(found):
        raise RefusedError(f"{who} has no address of its own: who sent {ask.command} cannot be told")
    if ask.flag and ask.flag not in found.get("flags", ""):
        raise ChangedError(f"{who} has stopped by itself what it was to be closed for")
    if ask.is_dead and not without_peer([found]):
        raise ChangedError(f"{who} is not known to be dead: this machine has no proof of it any more")
    if ask.command and found.get("cmd") != ask.command:
        raise ChangedError(f"{who} sends {found.text('cmd')} by now, and not {ask.command} any more")
    for field, least in ask.least.items():
        seen = found.number(field) or 0
        if seen < least:
            raise ChangedError(
                f"{who} has {field} {seen:,.0f} by now, less than the {least:,} it is closed for"
            )
