"""What a watch counts at each look beside memory and streams: the longest keys, connections, and locks."""

from __future__ import annotations

from medic8.model.issue import Finding
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.looks.ended_clients import judge_ended
from medic8.targets.valkey.looks.growing_clients import look_for_growing_clients
from medic8.targets.valkey.looks.growing_keys import find_long, lengths_of, look_for_growing_keys
from medic8.targets.valkey.looks.own_locks import LockWatch
from medic8.targets.valkey.looks.quiet_waits import QuietWatch
from medic8.targets.valkey.policy import POLICY, ServerPolicy


class Watch:
    """
    Counts of one watch; of a look that is none, of nothing.

    Args:
        server: Is in the database *home*.
        home: The one whose keys are watched.
        facts: The sections ``clients`` and ``stats`` of INFO.
        is_one: Whether anything is watched at all.
        policy: The limits of the target.
    """

    def __init__(
        self, server: Server, home: int, facts: Facts, *, is_one: bool, policy: ServerPolicy = POLICY
    ) -> None:
        self._server, self._home, self._policy, self._is_one = server, home, policy, is_one
        self._keys = find_long(server, policy=policy) if is_one and server.go_to(home) else []
        self._counts = server.info("commandstats") if self._keys else Facts({})
        self._times_s = list[float]()
        self._connected = list[int]()
        self._first = facts
        self._lengths = list[list[int | None]]()
        self._locks = LockWatch(server, is_one=is_one, policy=policy)
        self._waits = QuietWatch(server, is_one=is_one)
        self.look(0.0, facts)

    def look(self, at_s: float, facts: Facts) -> None:
        """Count once more, so many seconds after the first time."""
        if not self._server.go_to(self._home):
            return
        self._times_s.append(at_s)
        self._connected.append(facts.whole("connected_clients") or 0)
        self._lengths.append(lengths_of(self._server, self._keys))
        self._locks.look(at_s)
        self._waits.look(at_s, facts)

    def findings(self, facts: Facts) -> tuple[Finding, ...]:
        """What only ever became more, of ten looks at least; and locks that nobody lets go of."""
        if not self._server.go_to(self._home):
            return ()
        locks = self._locks.findings()
        known = {each.about for each in locks}
        return (
            *look_for_growing_keys(
                self._server,
                self._keys,
                self._times_s,
                self._lengths,
                facts,
                self._counts,
                policy=self._policy,
            ),
            *look_for_growing_clients(self._server, self._times_s, self._connected, policy=self._policy),
            *(
                judge_ended(self._first, facts, self._times_s[-1], policy=self._policy)
                if self._is_one
                else ()
            ),
            *locks,
            *(each for each in self._waits.findings() if each.about not in known),
        )
