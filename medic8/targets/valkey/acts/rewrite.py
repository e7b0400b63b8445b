"""Have a server write a damaged file of its own anew: one-way, told by whether a copy of it can be read."""

from __future__ import annotations

import time
from collections.abc import Sequence

import valkey

from medic8.errors import ChangedError, RefusedError, TransientError, VerifyError
from medic8.model.frozen import Frozen
from medic8.model.plan import Step
from medic8.model.recovery import Claim
from medic8.model.wording import counted, measured
from medic8.targets.valkey.acts.act import Act, ActedOn
from medic8.targets.valkey.acts.resync import require_room_for_a_copy
from medic8.targets.valkey.client import connection, info, setting
from medic8.targets.valkey.data_files import (
    SETTINGS,
    DataFiles,
    Part,
    free_beside,
    keep_aside,
    located,
)
from medic8.targets.valkey.file_check import damage_of, loaded
from medic8.targets.valkey.looks.files import most_bytes_of
from medic8.targets.valkey.policy import policy_of
from medic8.targets.valkey.resting_keys import differing_at_rest

REWRITE_FILE = "rewrite_file"

_WHOLE = b"whole"
_WRITTEN_S = 300.0
_LOOK_EVERY_S = 0.1

#: After a failure the server itself waits for five seconds. Source: Valkey source, CONFIG_BGSAVE_RETRY_DELAY.
_BEGINS_S = 8.0

#: The server tells both, for how long a key was not used and for how long it wrote, in whole seconds.
_COARSE_S = 2.0

#: How the server says that it is writing, and that it could not.
_BUSY = {
    Part.SNAPSHOT: ("rdb_bgsave_in_progress",),
    Part.AOF: ("aof_rewrite_in_progress", "aof_rewrite_scheduled"),
}
_STATUS = {Part.SNAPSHOT: "rdb_last_bgsave_status", Part.AOF: "aof_last_bgrewrite_status"}
_TOOK = {Part.SNAPSHOT: "rdb_last_bgsave_time_sec", Part.AOF: "aof_last_rewrite_time_sec"}
_COMMAND = {Part.SNAPSHOT: "BGSAVE", Part.AOF: "BGREWRITEAOF"}


class RewriteFile(Frozen):
    """
    Arguments of the action ``rewrite_file``.

    Attributes:
        part: What is damaged.
    """

    part: Part


class RewriteAct(Act):
    """``BGSAVE`` or ``BGREWRITEAOF``, after what is there was kept."""

    name = REWRITE_FILE
    is_of_process = False

    def capture(self, server: ActedOn, step: Step) -> bytes | None:
        """Whether it can be read; if not, which file that is."""
        part = _arguments(step).part
        _let_it_begin(server.client)
        _wait_until_written(server.client, part)
        files = _files(server.client)
        damage = damage_of(files, part, most_bytes=most_bytes_of(server.target))
        return b"damaged " + files.identity(part).encode() if damage else _WHOLE

    def prepare(self, server: ActedOn, step: Step) -> bytes | None:
        """It is to be whole."""
        memory, persistence = info(server.client, "memory"), info(server.client, "persistence")
        require_room_for_a_copy(memory, policy_of(server.target))
        used, free = int(memory["used_memory"]), free_beside(_files(server.client))
        if free < used:
            raise RefusedError(
                f"a new {_arguments(step).part} may have {measured(used, 'bytes')}, and there are "
                f"{measured(free, 'bytes')} free beside the damaged one"
            )
        if any(int(persistence.get(name, 0)) for names in _BUSY.values() for name in names):
            raise RefusedError("the server writes to its disk already: one fork at a time")
        return _WHOLE

    def swap(
        self, server: ActedOn, step: Step, expected: bytes | None, new: bytes | None, claim: Claim
    ) -> None:
        """Keep what is there, have it written anew, and wait for that."""
        part = _arguments(step).part
        if new != _WHOLE:
            raise RefusedError(f"a damaged {part} is not put back by itself; it is kept under medic8-damaged")
        if expected == _WHOLE:
            raise ChangedError(f"the {part} can be read by now")
        files = _files(server.client)
        if expected != b"damaged " + files.identity(part).encode():
            raise ChangedError(f"the {part} is another file by now than the damaged one")
        keep_aside(files, part, claim.recovery)
        with server.guarded(claim, step) as pipe:
            pipe.multi()
            pipe.execute_command(_COMMAND[part])
            server.carry_out(pipe, claim, step)
        deadline_s = time.monotonic() + _BEGINS_S
        while b"damaged " + files.identity(part).encode() == expected and time.monotonic() < deadline_s:
            _let_it_begin(server.client)
            _wait_until_written(server.client, part)
        if b"damaged " + files.identity(part).encode() == expected:
            status = info(server.client, "persistence")[_STATUS[part]]
            raise RefusedError(f"the server wrote no new {part} ({status}); the damaged one is as it was")

    def took_effect(self, server: ActedOn, step: Step, recovery: str) -> bool | None:
        """If it can be read, it did; else it is another damaged one, and nothing tells."""
        del recovery
        return True if self.capture(server, step) == _WHOLE else None

    def verify(self, server: ActedOn, steps: Sequence[Step]) -> None:
        """A copy of each loads in a server of its own, and holds what is in memory of keys at rest."""
        for step in steps:
            part = _arguments(step).part
            files, most = _files(server.client), most_bytes_of(server.target)
            database = int(server.client.get_connection_kwargs().get("db") or 0)
            with loaded(files, part, most_bytes=most, database=database) as (url, damage):
                if damage:
                    raise VerifyError(f"the new {part} is damaged: {damage}")
                took_s = int(info(server.client, "persistence")[_TOOK[part]])
                rest_s = files.age_s(part) + max(0, took_s) + _COARSE_S
                with connection(url, timeout_s=server.target.timeout_s) as copy:
                    compared, wrong = differing_at_rest(server.client, copy, rest_s=rest_s)
            if wrong:
                raise VerifyError(
                    f"the new {part} can be read, and {counted(wrong, 'key')} of {compared:,} that nobody "
                    "used since are other ones in it"
                )


def _arguments(step: Step) -> RewriteFile:
    return RewriteFile.model_validate(step.arguments)


def _files(client: valkey.Valkey) -> DataFiles:
    found = {name: value for name in SETTINGS if (value := setting(client, name)) is not None}
    return located(info(client, "server"), found)


def _let_it_begin(client: valkey.Valkey) -> None:
    """
    Wait for two turns of the server's own clock.

    A snapshot that is asked for within EXEC begins at the next one, and nothing tells that it is going to.
    Source: Valkey source, rdb.c, bgsaveCommand.
    """
    time.sleep(2 / max(1, int(setting(client, "hz") or 1)))


def _wait_until_written(client: valkey.Valkey, part: Part) -> None:
    """
    Wait until the server is not writing it.

    Raises:
        TransientError: it takes longer than we wait.
    """
    deadline_s = time.monotonic() + _WRITTEN_S
    while any(int(info(client, "persistence").get(name, 0)) for name in _BUSY[part]):
        if time.monotonic() > deadline_s:
            raise TransientError(f"the server is still writing its {part} after {_WRITTEN_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)
