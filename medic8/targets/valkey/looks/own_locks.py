"""
Watch for locks that programs make of a key of their own (``SET … NX``).

The server does not tell who asks for which key, and MONITOR, which would, is never sent. What tells is what
is left over: a SET that was not carried out counts as a call and changes nothing, and the key that it met
was used a moment ago, again and again, and holds what it held.

Source: Valkey documentation, SET; OBJECT IDLETIME; INFO, commandstats and rdb_changes_since_last_save.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from medic8.model.issue import Finding
from medic8.model.wording import as_text
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import LOOKING, Refusal, Server
from medic8.targets.valkey.looks.clients import MOST_LISTED, parse_list
from medic8.targets.valkey.looks.facts import parse_info
from medic8.targets.valkey.looks.lock_signs import Held, Seen, Tried, callers_of, judge_locks, tried
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: Keys are looked for in steps of so many places of the table, for so long at most, so many in all.
_STEP, _MOST_S, _MOST_COUNTED = 1000, 0.3, 20_000

#: A key that is asked for all the while was used within the last of the seconds that the server counts in.
_USED_S = 1

#: So much of a value is read: a holder's name, token or address is no longer. More is no lock.
MOST_VALUE = 200

#: The shorter the time between two counts, the less is hidden by changes of others: so often, in so many
#: seconds each, at each look until enough is known.
_COUNTS, _BETWEEN_S, _ENOUGH = 4, 0.008, 20

#: In fewer looks, and less time, a key may be met by chance.
_LEAST_LOOKS, _LEAST_S = 6, 2.0


class LockWatch:
    """
    What a watch notes of locks; of a look that is none, nothing.

    Args:
        server: Is in the database that is watched whenever it is used.
        is_one: Whether anything is watched at all.
        policy: The limits of the target.
    """

    def __init__(self, server: Server, *, is_one: bool, policy: ServerPolicy = POLICY) -> None:
        self._server, self._is_one, self._policy = server, is_one, policy
        self._last: Facts | None = None
        self._tried = Tried()
        self._used: dict[bytes, bytes | None] = {}
        self._first_ms: dict[bytes, int] = {}
        self._times_s = list[float]()
        self._listed = list[Mapping[str, Facts]]()

    def look(self, at_s: float) -> None:
        """Count once more, so many seconds after the first time."""
        if not self._is_one:
            return
        self._tried += tried(self._count())
        if not self._times_s:
            if not any(self._tried):
                return
            self._used = dict.fromkeys(_used_just_now(self._server))
        else:
            self._used = self._still_used(at_s)
        self._times_s.append(at_s)
        self._listed.append(connections(self._server))

    def findings(self) -> tuple[Finding, ...]:
        """What can be said at the end."""
        if len(self._times_s) < _LEAST_LOOKS or self._times_s[-1] - self._times_s[0] < _LEAST_S:
            return ()
        held = []
        for name, before in self._used.items():
            value, last_ms = self._value(name), self._server.try_one("PTTL", name)
            if value is not None and value == before and isinstance(last_ms, int):
                held.append(Held(name, as_text(value), self._first_ms[name], last_ms))
        span_s = self._times_s[-1] - self._times_s[0]
        return judge_locks(Seen(self._tried, span_s, held, callers_of(self._listed)), policy=self._policy)

    def _count(self) -> list[Facts]:
        """The last count, and those of now; none where the server does not count both at one moment."""
        counts = [] if self._last is None else [self._last]
        for number in range(1 if self._tried.in_vain >= _ENOUGH else _COUNTS):
            if number:
                time.sleep(_BETWEEN_S)
            reply = self._server.try_one("INFO", "commandstats", "persistence")
            if isinstance(reply, Refusal):  # also before version 7
                self._is_one = False
                return []
            counts.append(Facts(parse_info(reply)))
        self._last = counts[-1]
        return counts

    def _still_used(self, at_s: float) -> dict[bytes, bytes | None]:
        """Those that were used in the last second as well; our own look counts as use, and is waited for."""
        if at_s - self._times_s[0] <= 2 * _USED_S and self._first_ms:
            return self._used
        names = list(self._used)
        idle = self._server.try_all([("OBJECT", "IDLETIME", each) for each in names]) if names else []
        used = {
            name: self._used[name]
            for name, idle_s in zip(names, idle, strict=True)
            if isinstance(idle_s, int) and idle_s <= _USED_S
        }
        if not self._first_ms:
            for name in used:
                left_ms = self._server.try_one("PTTL", name)
                self._first_ms[name] = left_ms if isinstance(left_ms, int) else -2
                used[name] = self._value(name)
        return used

    def _value(self, name: bytes) -> bytes | None:
        value = self._server.try_one("GETRANGE", name, 0, MOST_VALUE)
        return value if isinstance(value, bytes) and 0 < len(value) <= MOST_VALUE else None


def _used_just_now(server: Server) -> list[bytes]:
    """Strings of the database that were used within the last second."""
    found: list[bytes] = []
    cursor, seen, until_s = b"0", 0, time.perf_counter() + _MOST_S
    while True:
        reply = server.ask("SCAN", cursor, "COUNT", _STEP, "TYPE", "string", what="locks", words=1)
        if reply is None:
            return []
        cursor, names = reply
        idle = server.try_all([("OBJECT", "IDLETIME", each) for each in names]) if names else []
        found += [
            name
            for name, idle_s in zip(names, idle, strict=True)
            if isinstance(idle_s, int) and idle_s <= _USED_S
        ]
        seen += len(names)
        if cursor == b"0" or seen >= _MOST_COUNTED or time.perf_counter() >= until_s:
            return found


def connections(server: Server) -> Mapping[str, Facts]:
    """Who is connected and no look of ours, by number; nobody where there are too many to list them often."""
    connected = server.info("clients").whole("connected_clients")
    if connected is None or connected > MOST_LISTED:
        return {}
    return {
        each.get("id", ""): each
        for each in parse_list(server.ask("CLIENT", "LIST", what="who holds locks"))
        if not each.get("name", "").startswith(LOOKING)
    }
