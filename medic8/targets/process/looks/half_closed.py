"""Connections that the other end has closed, and the process has not: what nobody closes stays for ever."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.model.wording import counted
from medic8.targets.process.living import Living
from medic8.targets.process.looks.looking import if_told
from medic8.targets.process.policy import POLICY, ProcessPolicy

#: CLOSE_WAIT, as ``/proc/net/tcp`` writes it. Source: Linux, include/net/tcp_states.h.
_CLOSE_WAIT = "08"

_FIELDS = 10
_SOCKET = "socket:["

#: Between two looks: a server that is about to close has done so by then.
_PAUSE_S = 0.5

#: Of more descriptors the rest is not looked at.
_MOST_LOOKED_AT = 4096
_EXAMPLES = 3


def half_closed(process: Living, policy: ProcessPolicy = POLICY) -> dict[int, int]:
    """
    The sockets that were closed by the other end at two moments: by number, the port on our side.

    If they are few at the first moment, there is no second one. Raises as `Living.read` does.
    """
    found = _now(process)
    if policy.half_closed.severity(len(found)) is None:
        return found
    time.sleep(_PAUSE_S)
    still = _now(process)
    return {socket: port for socket, port in found.items() if socket in still}


def sockets_of(process: Living) -> set[int]:
    """The numbers of its sockets; raises as `Living.read` does."""
    ours = set()
    for name in process.names("fd")[:_MOST_LOOKED_AT]:
        with if_told():  # one that was closed meanwhile
            leads_to = process.link(f"fd/{name}")
            if leads_to.startswith(_SOCKET):
                ours.add(int(leads_to.removeprefix(_SOCKET).rstrip("]")))
    return ours


def _now(process: Living) -> dict[int, int]:
    ours = sockets_of(process)
    found: dict[int, int] = {}
    for table in ("net/tcp", "net/tcp6") if ours else ():
        with if_told():  # a kernel without it
            found |= half_closed_in(process.read(table).decode(errors="replace"), ours)
    return found


def half_closed_in(table: str, sockets: Collection[int]) -> dict[int, int]:
    """Those of *sockets* that *table* (``/proc/net/tcp``) has as half-closed, with the port on our side."""
    return in_state(table, sockets, _CLOSE_WAIT)


def in_state(table: str, sockets: Collection[int], state: str) -> dict[int, int]:
    """Those of *sockets* that *table* (``/proc/net/tcp``) has in a *state*, with the port on our side."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        # The last line may be cut off.
        if len(fields) >= _FIELDS and fields[3] == state and int(fields[9]) in sockets:
            found[int(fields[9])] = int(fields[1].rpartition(":")[2], 16)
    return found


def judge_half_closed(waiting: Mapping[int, int], *, policy: ProcessPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether it does not close what others have closed."""
    ports = Counter(waiting.values()).most_common(_EXAMPLES)
    return over(
        "descriptors.half_closed",
        policy.half_closed,
        len(waiting),
        f"{counted(len(waiting), 'connection')} were closed by the other end, and it does not close its own "
        "(CLOSE_WAIT)",
        about="connections",
        also=tuple(Evidence(what=f"at its port {port}", seen=f"{count:,}") for port, count in ports),
        advice=("ss -tnp state close-wait tells which; the program must close a connection at its end",),
    )
