"""Who a server is, and on what a recovery stands while it works there."""

from __future__ import annotations

from collections.abc import Container
from datetime import datetime

import valkey

from medic8.model.recovery import Recovery
from medic8.model.target import Resource
from medic8.owner import age_s
from medic8.targets.valkey.address import place
from medic8.targets.valkey.client import info


def server_resources(client: valkey.Valkey, url: str) -> tuple[Resource, ...]:
    """
    The server by its replication id, and by its address.

    The first is one whatever name the server is reached by, and changes when it
    restarts; the second stays, so that what was closed to automation stays closed.
    """
    replication = info(client, "replication")
    return (
        Resource(identity=f"valkey:{replication['master_replid']}", carries="the server"),
        address_of(url),
    )


def address_of(url: str) -> Resource:
    """Where the server is."""
    return Resource(identity=f"address:{place(url)}", carries="the server's address")


#: A server that began to run within this time before a recovery is taken for one that began after it.
_SLACK_S = 60.0


def carries_on(client: valkey.Valkey, url: str, known: Container[str]) -> bool:
    """
    Whether the server is one of the identities *known*, or continues the data of one.

    A replica that is promoted gets a replication id of its own and remembers
    that of its primary, as a primary does that restarts from a snapshot.
    Source: INFO, section replication, ``master_replid2``.
    """
    before = f"valkey:{info(client, 'replication').get('master_replid2')}"
    return before in known or any(each.identity in known for each in server_resources(client, url))


def ran_before(
    client: valkey.Valkey, recovery: Recovery, now: datetime, *, slack_s: float = _SLACK_S
) -> bool:
    """Whether the server's process was running already when *recovery* was opened: no restart brought it."""
    uptime_s = float(info(client, "server")["uptime_in_seconds"])
    return uptime_s > age_s(recovery, now) + slack_s


def run_id_of(stands_on: str) -> str:
    """The run id in what `ground` says."""
    return stands_on.split(" ", maxsplit=1)[0]


def ground(client: valkey.Valkey) -> str:
    """Run id, role and replication id in one line: a restart, fail-over or change of role changes it."""
    server, replication = info(client, "server"), info(client, "replication")
    return f"run_id={server['run_id']} role={replication['role']} replication={replication['master_replid']}"
