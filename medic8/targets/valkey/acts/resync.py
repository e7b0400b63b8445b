"""
Have a replica throw its data away and copy its primary's: one-way, told by what differs.

The target is the primary, which the claim lies on. The claim is replicated like
every key, so the replica has it too: the change there is guarded by it, and whoever
has taken the recovery over since has changed it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import valkey
import valkey.exceptions
from pydantic import Field
from valkey.client import Pipeline

from medic8.errors import (
    ChangedError,
    ClaimGoneError,
    FencedError,
    RefusedError,
    TransientError,
    VerifyError,
)
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.wording import counted, shown
from medic8.targets.valkey import claim as claims
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.address import place
from medic8.targets.valkey.claim import carry_out
from medic8.targets.valkey.client import RECOVERY, connection, info, replicas_in
from medic8.targets.valkey.comparing import Following, following
from medic8.targets.valkey.policy import POLICY, ServerPolicy, policy_of
from medic8.targets.valkey.whole_comparison import differing, pack

RESYNC = "resync"

#: Longest wait for a replica that may be copying; the copy itself, and a link that is being built.
_IN_STEP_S = 30.0
_COPIED_S = 300.0
_CLAIM_ARRIVES_S = 3.0
_LOOK_EVERY_S = 0.1


class Resync(Frozen):
    """
    Arguments of the action ``resync``.

    Attributes:
        place: The replica, as the target's ``replicas`` names it: host and port, without credentials.
        run_id: Of its process when the plan was made.
        host: The primary's host, as the replica calls it.
        port: The primary's port.
        copies: How many full copies the primary had made: one more, and this one may have been made.
    """

    place: str
    run_id: str
    host: str
    port: int = Field(ge=1, le=65535)
    copies: int = Field(ge=0)


class ResyncAct(Act):
    """``REPLICAOF NO ONE`` and ``REPLICAOF HOST PORT`` in one act: after it only a full copy is possible."""

    name = RESYNC
    is_of_process = False

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """
        Every key of the replica that differs from the primary's, as the replica has it.

        Raises:
            TransientError: the replica is not in step, so that nothing can be said.
        """
        ask = _arguments(step)
        _wait_until_in_step(server, ask, _IN_STEP_S)
        return pack(differing(server.target.address, _url(server, ask), timeout_s=server.target.timeout_s))

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """Nothing is to differ afterwards."""
        ask = _arguments(step)
        require_room_for_a_copy(info(server.client, "memory"), policy_of(server.target))
        _require_no_other_copy(server.client, ask)
        _require_it_is_meant(_seen(server, ask), ask)
        return pack({})

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Have it copied, if what differs is still what was saved."""
        ask = _arguments(step)
        if new != pack({}):
            raise RefusedError(f"replica {ask.place}: data that a copy replaced are not put back")
        if expected == new:
            raise ChangedError(f"replica {ask.place}: no key differs by now")
        # Renewals of the claim that are still on their way there would look like somebody else's change.
        _wait_until_in_step(server, ask, _IN_STEP_S)
        with _replica(server, ask, name=RECOVERY) as other, other.pipeline() as pipe:
            other.execute_command("SELECT", claims.database_of(server.client))
            _guard_there(pipe, claim, server.claim_beside(claim, step))
            if self.capture(server, step) != expected:
                raise ChangedError(f"replica {ask.place} differs in other keys by now than what was saved")
            _require_it_is_meant(_seen(server, ask), ask)
            pipe.multi()
            pipe.execute_command("REPLICAOF", "NO", "ONE")
            pipe.execute_command("REPLICAOF", ask.host, ask.port)
            try:
                carry_out(pipe)
            except valkey.exceptions.ResponseError:
                # Of a transaction that was begun the first half may have been carried out alone.
                if info(other, "replication")["role"] == "master":
                    other.execute_command("REPLICAOF", ask.host, ask.port)
                raise

    def took_effect(self, server: ActedOn, step: Step, recovery: str) -> bool | None:
        """No copy was made since: it did not. One was, and nothing differs: it did, whoever had it made."""
        del recovery
        is_equal = self.capture(server, step) == pack({})  # waits for a copy that is under way
        if copies_of(server.client) == _arguments(step).copies:
            return False
        return True if is_equal else None

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """Each is in step again, its primary lists it, and no key differs."""
        for step in steps:
            ask = _arguments(step)
            try:
                _wait_until_in_step(server, ask, _COPIED_S)
            except TransientError as exc:
                raise VerifyError(str(exc)) from exc
            left = differing(server.target.address, _url(server, ask), timeout_s=server.target.timeout_s)
            if left:
                count = sum(map(len, left.values()))
                raise VerifyError(f"replica {ask.place} was copied to, and {counted(count, 'key')} differ")


def copies_of(client: valkey.Valkey) -> int:
    """How many full copies a primary has made since it started."""
    return int(info(client, "stats")["sync_full"])


def _arguments(step: Step) -> Resync:
    return Resync.model_validate(step.arguments)


def _url(server: ActedOn, ask: Resync) -> str:
    """
    The replica's address with its credentials, which no plan holds.

    Raises:
        RefusedError: the target no longer names it.
    """
    urls = [url for url in server.target.replica_addresses if place(url) == ask.place]
    if not urls:
        raise RefusedError(f"target {server.target.name} no longer names the replica {ask.place}")
    return urls[0]


def _replica(server: ActedOn, ask: Resync, *, name: str = "medic8") -> AbstractContextManager[valkey.Valkey]:
    return connection(_url(server, ask), timeout_s=server.target.timeout_s, name=name)


def _seen(server: ActedOn, ask: Resync) -> Following:
    with _replica(server, ask) as other:
        return following(other, _url(server, ask))


def _wait_until_in_step(server: ActedOn, ask: Resync, patience_s: float) -> None:
    """
    Wait until the replica has all that the primary has written by now.

    Raises:
        RefusedError: it is a primary itself.
        TransientError: it is not in step after *patience_s*.
    """
    deadline_s = time.monotonic() + patience_s
    wanted: int | None = None
    while True:
        seen, ours = _seen(server, ask), info(server.client, "replication")
        if seen.role == "master":
            raise RefusedError(
                f"replica {ask.place} is a primary of its own; if nobody writes there: "
                f"REPLICAOF {ask.host} {ask.port}"
            )
        if seen.is_up and seen.history == ours["master_replid"]:
            wanted = int(ours["master_repl_offset"]) if wanted is None else wanted
            if seen.offset >= wanted and _is_listed(ours, seen.own_port):
                return
        if time.monotonic() > deadline_s:
            raise TransientError(
                f"replica {ask.place} is not in step with its primary after {patience_s:.0f} s"
            )
        time.sleep(_LOOK_EVERY_S)


def _is_listed(replication: Mapping[str, Any], port: int) -> bool:
    """Whether a primary has a replica with this port, and it is online."""
    listed = replicas_in(replication)
    return any(int(each["port"]) == port and each["state"] == "online" for each in listed)


def require_room_for_a_copy(memory: Mapping[str, Any], policy: ServerPolicy = POLICY) -> None:
    """
    Check that the primary may fork: its child may need as much again.

    Raises:
        RefusedError: the host has not that much.
    """
    resident, total = int(memory["used_memory_rss"]), int(memory["total_system_memory"])
    most = policy.host_memory.cautious.error or 0
    if 2 * resident > total * most:
        raise RefusedError(
            f"a copy forks the primary, which has {resident:,} bytes resident: twice that is more than "
            f"{most:.0%} of its host's {total:,}"
        )


def _require_no_other_copy(client: valkey.Valkey, ask: Resync) -> None:
    """
    Check that nothing else is under way, and that no copy was made since the plan.

    Raises:
        RefusedError: a replica is copied to, or the primary writes to its disk.
        ChangedError: a copy was made since.
    """
    replication, persistence = info(client, "replication"), info(client, "persistence")
    if any(each["state"] != "online" for each in replicas_in(replication)):
        raise RefusedError("another replica is being copied to: one at a time")
    if int(persistence["rdb_bgsave_in_progress"]) or int(persistence["aof_rewrite_in_progress"]):
        raise RefusedError("the primary writes a snapshot or its append-only file: one fork at a time")
    if copies_of(client) != ask.copies:
        raise ChangedError("the primary has made a full copy since the plan was made")


def _require_it_is_meant(seen: Following, ask: Resync) -> None:
    """
    Check that the replica is the one that was planned for, and that a copy will do.

    Raises:
        ChangedError: it is another process, or follows somebody else.
        RefusedError: it takes writes, or others follow it.
    """
    if (seen.run_id, seen.role, seen.host, seen.port) != (ask.run_id, "slave", ask.host, ask.port):
        raise ChangedError(
            f"replica {ask.place} is {seen.role} of {shown(seen.host)}:{seen.port} in process "
            f"{seen.run_id[:12]} by now, and was the replica of {shown(ask.host)}:{ask.port} in "
            f"{ask.run_id[:12]} when it was planned for"
        )
    if seen.takes_writes:
        raise RefusedError(f"replica {ask.place} takes writes: CONFIG SET replica-read-only yes first")
    if seen.replicas:
        raise RefusedError(f"replica {ask.place} has replicas of its own, which would be copied to as well")


def _guard_there(pipe: Pipeline, claim: Claim, key: bytes) -> None:
    """
    Watch the claim where it was replicated to.

    Raises:
        ClaimGoneError: it did not arrive.
        FencedError: it is another's.
    """
    deadline_s = time.monotonic() + _CLAIM_ARRIVES_S
    while True:
        try:
            claims.guard(pipe, claim, key)
        except (ClaimGoneError, FencedError):
            if time.monotonic() > deadline_s:
                raise
            pipe.unwatch()
            time.sleep(_LOOK_EVERY_S)
        else:
            return
