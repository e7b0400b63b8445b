"""Clients that are gone without having said so: what the kernel of the server's own machine proves."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Sequence

from pydantic import JsonValue

from medic8.analysis.judging import fact, over
from medic8.model.issue import Evidence, Finding, Severity
from medic8.targets.facts import Facts
from medic8.targets.machine import kernel
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: The setting that has the kernel ask silent clients whether they live. Source: valkey.conf.
KEEPALIVE = "tcp-keepalive"
TIMEOUT = "timeout"

#: The kernel gives its table in pieces, so that a row may be missed while others come and go.
_TABLES = 2
_BETWEEN_S = 0.05

_DOUBT = (
    "{} clients that may be gone: the kernel follows connections here, may give a client another address by "
    "that, and tells root only which (/proc/net/nf_conntrack)"
)


def without_peer(listed: Sequence[Facts], *, doubts: list[str] | None = None) -> list[Facts]:
    """
    Of *listed* those that are dead for certain; none where this is not the server's machine.

    A client on the server's own machine has a socket there as well. If the kernel has the server's end of
    the connection and, in any state, no socket at the other end, nobody will ever speak through it again;
    unless the address of the client is translated, and its socket has another one.

    Args:
        listed: Clients as CLIENT LIST has them.
        doubts: Is told why nobody is called dead who may be.
    """
    dead = [each for each in listed if _ends_here(each)]
    unknown = set[tuple[kernel.End, kernel.End]]()
    for number in range(_TABLES):
        if not dead:
            return []
        if number:
            time.sleep(_BETWEEN_S)
        try:
            table = list(kernel.sockets())
        except OSError:
            return []
        dead = peerless(dead, table)
        unknown |= unknown_callers(table)
        translated = kernel.translated() if dead else frozenset[kernel.End]()
        if translated is None:
            if doubts is not None:
                doubts.append(_DOUBT.format(len(dead)))
            return []
        dead = [each for each in dead if kernel.end_of(each.get("addr", "")) not in translated]
    called = {far for _, far in _still_unknown(unknown)} if dead else set()
    return [each for each in dead if kernel.end_of(each.get("laddr", "")) not in called]


def peerless(listed: Sequence[Facts], table: Sequence[kernel.Socket]) -> list[Facts]:
    """
    Of *listed* those whose connection has one end only.

    What a client's own socket has as its far end proves nothing: where the machine translates addresses
    (REDIRECT, DNAT), that is the address before it.

    Args:
        listed: Clients as CLIENT LIST has them, of the server's own machine.
        table: Every socket of this machine.
    """
    open_ends = {(each.near, each.far) for each in table if each.state == kernel.ESTABLISHED}
    places = {each.near for each in table}
    found = []
    for each in listed:
        near, far = kernel.end_of(each.get("laddr", "")), kernel.end_of(each.get("addr", ""))
        if near and far and (near, far) in open_ends and far not in places:
            found.append(each)
    return found


def unknown_callers(table: Sequence[kernel.Socket]) -> set[tuple[kernel.End, kernel.End]]:
    """
    Connections, by both ends as the caller has them, whose other end is not in *table*.

    Of those to another machine there are many. One to a server on this machine is known there by another
    address (SNAT, MASQUERADE): as long as there is one, whoever seems dead may be that caller.
    """
    pairs = {(each.near, each.far) for each in table}
    open_ends = {(each.near, each.far) for each in table if each.state == kernel.ESTABLISHED}
    return {(near, far) for near, far in open_ends if (far, near) not in pairs}


def _still_unknown(
    unknown: set[tuple[kernel.End, kernel.End]],
) -> set[tuple[kernel.End, kernel.End]]:
    """Those of *unknown* who are no connections that came or went while the table was given."""
    if not unknown:
        return set()
    time.sleep(_BETWEEN_S)
    try:
        return unknown & unknown_callers(list(kernel.sockets()))
    except OSError:
        return unknown


def judge_dead(dead: Sequence[Facts], objects: tuple[dict[str, JsonValue], ...]) -> tuple[Finding, ...]:
    """
    The finding about clients that are gone.

    Args:
        dead: Those that the kernel proves to be.
        objects: Which of them a plan may close.
    """
    if not dead:
        return ()
    names = ", ".join(f"{each.text('id')} at {each.text('addr')}" for each in dead[:3])
    blocked = [each for each in dead if "b" in each.get("flags", "")]
    found = fact(
        "clients.dead",
        Severity.WARNING,
        f"{len(dead):,} clients are gone and the server does not know: {names}",
        about="dead clients",
        evidence=(
            Evidence(what="connections whose other end this machine does not have", seen=f"{len(dead):,}"),
            Evidence(
                what="of them wait in a blocking command and will lose what they are given",
                seen=f"{len(blocked):,}",
            ),
        ),
        advice=(
            f"CLIENT KILL ID {dead[0].text('id')} closes the first",
            f"CONFIG SET {KEEPALIVE} 300 has the kernel find such clients by itself, of new connections",
        ),
        objects=objects,
    )
    return tuple(each.model_copy(update={"extent": len(dead)}) for each in found)


def judge_timeout(timeout_s: int | None, *, policy: ServerPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Whether the server closes connections so soon that a pool which keeps them finds them closed.

    Args:
        timeout_s: The setting in seconds; 0 = off, None = not seen.
        policy: The limits of the target.
    """
    return over(
        "clients.timeout",
        policy.idle_timeout,
        timeout_s or None,
        f"the server closes every connection that was idle for {{seen}} (setting {TIMEOUT})",
        about=TIMEOUT,
        what=TIMEOUT,
        advice=(
            f"CONFIG SET {TIMEOUT} 300, or 0 for never: tcp-keepalive ends those whose clients are gone",
            "have pools give up idle connections sooner than the server does",
        ),
    )


def judge_keepalive(
    listed: Sequence[Facts], dead: Sequence[Facts], keepalive: int | None, *, policy: ServerPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether nobody asks silent clients if they live, though some are dead or have been silent for long.

    Args:
        listed: Clients as CLIENT LIST has them.
        dead: Those that are known to be gone.
        keepalive: The setting in seconds; 0 = off, None = not seen.
        policy: The limits of the target.
    """
    if keepalive != 0:
        return ()
    silent = [each for each in listed if _is_ordinary(each)]
    longest_s = max((each.number("idle") or 0 for each in silent), default=0)
    limit_s = policy.silence.warning or 0
    objects: tuple[dict[str, JsonValue], ...] = ({"name": KEEPALIVE, "found": "0"},)
    advice = (
        f"CONFIG SET {KEEPALIVE} 300 asks clients of new connections every 5 minutes whether they live",
        "CLIENT KILL ID N closes one that nobody needs; CLIENT LIST tells how long each has been idle",
    )
    if dead:
        return fact(
            "clients.no_keepalive",
            Severity.WARNING,
            f"clients that die are never noticed: {KEEPALIVE} is 0",
            about=KEEPALIVE,
            evidence=(
                Evidence(what=KEEPALIVE, seen="0", limit="1 or more"),
                Evidence(what="dead clients", seen=f"{len(dead):,}", limit="0"),
            ),
            advice=advice,
            objects=objects,
        )
    many = sum((each.number("idle") or 0) >= limit_s for each in silent)
    return over(
        "clients.no_keepalive",
        policy.silence,
        longest_s,
        f"{many:,} clients have been silent, one for {{seen}}, and nobody asks whether they live",
        about=KEEPALIVE,
        advice=advice,
        also=(Evidence(what=KEEPALIVE, seen="0", limit="1 or more"),),
        objects=objects,
    )


def _ends_here(client: Facts) -> bool:
    """Whether a client is on the server's machine, by its own address and the one that it came to."""
    near, far = kernel.end_of(client.get("laddr", "")), kernel.end_of(client.get("addr", ""))
    if near is None or far is None:
        return False
    return near.address == far.address or (
        ipaddress.ip_address(far.address).is_loopback and ipaddress.ip_address(near.address).is_loopback
    )


def _is_ordinary(client: Facts) -> bool:
    """Whether silence says something about it: subscribers and who waits in a command are silent by trade."""
    return not set(client.get("flags", "")) & set("MSbPO")
