"""
A replica that was made a primary beside the old one: both have one history up to then, and are written to.

It shows from either side. A primary has forgotten who followed it, so other servers of its program on its
machine are asked, as `medic8.targets.valkey.looks.peers` has it: without a password, and nowhere else.

Source: Valkey documentation, Replication: replication ID explained; INFO, master_replid2, second_repl_offset,
repl_backlog_active (which ends an hour after the last replica has gone, by repl-backlog-ttl).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psutil

from medic8.analysis.judging import fact
from medic8.errors import Medic8Error, RefusedError
from medic8.model.issue import Evidence, Finding, Severity
from medic8.targets.facts import Facts
from medic8.targets.valkey.address import place
from medic8.targets.valkey.client import connection, info
from medic8.targets.valkey.looks.peers import may_be_asked
from medic8.targets.valkey.server_process import is_a_server, process_of

#: So many other servers of the machine are asked at most.
_MOST = 32


def look_for_former_replicas(address: str, facts: Facts, *, timeout_s: float) -> tuple[Finding, ...]:
    """
    Who of this machine was this server's replica, or its primary, and is a primary that is written to.

    Args:
        address: The server's own, as the target has it.
        facts: The sections ``replication`` and ``server`` of INFO.
        timeout_s: Of each question.
    """
    has_lost_them = facts.number("connected_slaves") == 0 and facts.number("repl_backlog_active") == 1
    was_a_replica = (facts.number("second_repl_offset") or -1) > 0
    if facts.get("role") != "master" or not (has_lost_them or was_a_replica) or not may_be_asked(address):
        return ()
    found: tuple[Finding, ...] = ()
    for url in _others(address, facts):
        with contextlib.suppress(Medic8Error), connection(url, timeout_s=timeout_s) as client:
            theirs = Facts({name: str(value) for name, value in info(client, "replication").items()})
            found += judge_former(place(url), facts, theirs)
    return found


def judge_former(where: str, ours: Facts, theirs: Facts) -> tuple[Finding, ...]:
    """
    Whether a primary was a replica of ours, or we of it, and it has been written to since.

    Args:
        where: Its place.
        ours: The section ``replication`` of our INFO.
        theirs: The same of the other one.
    """
    was_ours = theirs.get("master_replid2") == ours.get("master_replid")
    was_above = ours.get("master_replid2") == theirs.get("master_replid")
    split = (theirs if was_ours else ours).whole("second_repl_offset")
    now = theirs.whole("master_repl_offset")
    is_written = split is not None and now is not None and now > split
    if theirs.get("role") != "master" or not (was_ours or was_above) or not is_written:
        return ()
    was = "a replica of this server" if was_ours else "this server's primary"
    about = f"replica {where}"
    return fact(
        "replication.two_primaries",
        Severity.ERROR,
        f"{where} was {was}, and both are primaries of their own by now: what is written to the one never "
        "reaches the other",
        about=about,
        evidence=(
            Evidence(what=f"role of {where}", seen="master", limit="slave"),
            Evidence(what="written there since they parted", seen=f"{(now or 0) - (split or 0):,} bytes"),
        ),
        advice=(
            "find out which of the two programs write to, and who made it a primary",
            "then, on the other one, after a backup of what only it has: REPLICAOF HOST PORT",
            "if it was parted on purpose, as a copy: CONFIG SET repl-backlog-ttl lets this server forget it",
        ),
    )


def _others(address: str, facts: Facts) -> Iterator[str]:
    """Addresses of other servers that run on this machine, if this one does."""
    try:
        own = process_of(facts).number
    except RefusedError:
        return
    ports = dict[int, None]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == own or not is_a_server(process.pid):
                continue
            for each in process.net_connections(kind="tcp"):
                if each.status == psutil.CONN_LISTEN:
                    ports[each.laddr.port] = None
    parts = urlsplit(address)
    where = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    for port in list(ports)[:_MOST]:
        yield urlunsplit(parts._replace(netloc=f"{where}:{port}"))
