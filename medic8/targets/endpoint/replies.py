"""Whether a reply is a good one, and whether it counts."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence

from medic8.model.endpoint import HttpRequest
from medic8.model.wording import shown
from medic8.targets.endpoint.asking import MOST_BODY, Reply
from medic8.targets.endpoint.endings import Ending

#: The statuses that are good where a target names none.
GOOD = range(200, 300)

#: Words by which a service says that it is ill; the last two are those of Docker and of Spring Boot.
_FAILS = frozenset({"fail", "error", "down", "unhealthy", "out_of_service"})


def that_count(replies: Sequence[Reply]) -> tuple[Reply, ...]:
    """
    *replies* without those that no client would mind.

    Where a name leads to several addresses and one answers, clients come there all the same if another is a
    loopback address that nobody listens at, or an IPv6 address that this machine has no way to. Who answers
    now and then is none of those, nor is one beside another of its own family: both are meant to serve.
    """
    serving = {reply.address for reply in replies if reply.ending is Ending.ANSWERED}
    families = {_address(each).version for each in serving}
    return tuple(
        reply
        for reply in replies
        if not serving or _address(reply.address).version in families or not _is_passed_over(reply)
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text.partition("%")[0])


def _is_passed_over(reply: Reply) -> bool:
    address = _address(reply.address)
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
    status = says_it_fails(reply, request)
    return f"its answer says {shown(status)}" if status else ""


def says_it_fails(reply: Reply, request: HttpRequest) -> str:
    """
    By which word a service says in a good answer that it is ill; empty if it does not, or by the site's word.

    Source: draft-inadarei-api-health-check-06, section 3.1: ``fail``, and for it also ``error`` and ``down``.
    """
    if request.body or not reply.body.lstrip().startswith(b"{") or len(reply.body) >= MOST_BODY:
        return ""
    try:
        told = json.loads(reply.body)
    except (ValueError, RecursionError):
        return ""
    status = told.get("status") if isinstance(told, dict) else None
    return status if isinstance(status, str) and status.lower() in _FAILS else ""
