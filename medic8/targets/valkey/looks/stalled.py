"""Output that waits for a client and is counted nowhere: the server holds values for it by reference."""

from __future__ import annotations

import time
from collections.abc import Sequence

from medic8.analysis.judging import over
from medic8.model.issue import Evidence, Finding
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.looks.clients import MOST_LISTED, parse_list, who
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: Between two lists of clients: who is sent nothing in that time, and has something to read, does not read.
_INTERVAL_S = 0.3
_SHOWN = 5


def look_for_stalled(
    server: Server, facts: Facts, left: int, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Clients that do not read, where memory is held that belongs to no key; nothing is asked where none is.

    Args:
        server: To ask for its clients, twice.
        facts: The section ``memory`` of INFO.
        left: Bytes of data that are in no key, see `medic8.targets.valkey.looks.large_keys`.
        policy: The limits of the target.
    """
    if policy.client_output.severity(left) is None or facts.number("lazyfree_pending_objects"):
        return ()
    connected = server.info("clients").whole("connected_clients")
    if connected is None or connected > MOST_LISTED:
        return ()
    before = parse_list(server.ask("CLIENT", "LIST", what="who does not read"))
    time.sleep(_INTERVAL_S)
    after = parse_list(server.ask("CLIENT", "LIST", what="who does not read"))
    return judge_stalled(before, after, left, policy=policy)


def judge_stalled(
    before: Sequence[Facts], after: Sequence[Facts], left: int, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether a client has output waiting and is sent nothing, while memory is held that belongs to no key.

    From 9.0 on Valkey holds large values for a client by reference and counts them neither as its output nor
    as its memory (``omem``, ``tot-mem``).

    Args:
        before: Clients as CLIENT LIST has them.
        after: The same a moment later.
        left: Bytes of data that are in no key.
        policy: The limits of the target.
    """
    earlier = {each.get("id"): each for each in before}
    stalled = [
        each
        for each in after
        if (each.number("oll") or 0) > 0
        and "S" not in each.get("flags", "")
        and (was := earlier.get(each.get("id"))) is not None
        and (was.number("oll") or 0) > 0
        and "tot-net-out" in each
        and was.get("tot-net-out") == each.get("tot-net-out")
    ]
    if not stalled:
        return ()
    longest = max(stalled, key=lambda each: (each.number("oll") or 0, each.number("omem") or 0))
    return over(
        "clients.output",
        policy.client_output,
        left,
        f"{who(longest)} does not read what waits for it, and {{seen}} of memory belong to no key",
        about="client output",
        what=f"memory that belongs to no key, while output waits for {who(longest)}",
        also=tuple(
            Evidence(
                what=f"client {each.text('id')} at {each.text('addr')}",
                seen=f"{each.text('oll')} pieces wait, and none was sent",
            )
            for each in stalled[:_SHOWN]
        ),
        advice=(
            f"CLIENT KILL ID {longest.text('id')} frees it; look why the program does not read",
            "CONFIG SET client-output-buffer-limit 'pubsub 32mb 8mb 60' ends subscribers that do not",
        ),
    )
