"""Whether a reply is a good one, and whether it counts."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from medic8.model.endpoint import HttpRequest
from medic8.targets.endpoint.asking import Reply
from medic8.targets.endpoint.endings import Ending

#: The statuses that are good where a target names none.
GOOD = range(200, 300)


def that_count(replies: Sequence[Reply]) -> tuple[Reply, ...]:
    """
    *replies* without those that no client would mind.

    Where a name leads to several addresses and one answers, clients come there all the same if another is a
    loopback address that nobody listens at, or an IPv6 address that this machine has no way to.
    """
    if not any(reply.ending is Ending.ANSWERED for reply in replies):
        return tuple(replies)
    return tuple(reply for reply in replies if not _is_passed_over(reply))


def _is_passed_over(reply: Reply) -> bool:
    address = ipaddress.ip_address(reply.address.partition("%")[0])
    if reply.ending is Ending.REFUSED:
        return address.is_loopback
    return reply.ending is Ending.NO_ROUTE and address.version == 6  # noqa: PLR2004 - IPv6


def wrong_with(reply: Reply, request: HttpRequest) -> str:
    """Why *reply* is no good answer to *request*, in a few words; empty if it is good."""
    if reply.ending is not Ending.ANSWERED:
        return str(reply.ending)
    if reply.status not in (request.status or GOOD):
        return f"status {reply.status}"
    if request.body and request.body.encode() not in reply.body:
        return "another body"
    return ""
