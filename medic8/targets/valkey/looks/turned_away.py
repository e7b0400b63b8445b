"""Whether connections that were turned away were one too many."""

from __future__ import annotations

from medic8.targets.facts import Facts, grown


def may_have_been_full(before: Facts, after: Facts) -> bool:
    """
    Whether as many may have been connected as are allowed; taken for so where nothing tells.

    Whoever breaks off at the door counts as rejected as well, beside however much room.

    Source: Valkey source, networking.c, acceptCommonHandler; INFO, rejected_connections.

    Args:
        before: The sections ``clients`` and ``stats`` of INFO.
        after: The same a moment later.
    """
    came, limit = grown(before, after, "total_connections_received"), after.number("maxclients")
    return came is None or limit is None or (before.number("connected_clients") or 0) + came >= limit
