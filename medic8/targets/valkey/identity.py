"""Who a server is, and on what a recovery stands while it works there."""

from __future__ import annotations

import valkey

from medic8.model.target import Resource
from medic8.targets.valkey.client import info, place


def server_resources(client: valkey.Valkey, url: str) -> tuple[Resource, ...]:
    """
    The server by its replication id, and by its address.

    The first is one whatever name the server is reached by, and changes when it
    restarts; the second stays, so that what was closed to automation stays closed.
    """
    replication = info(client, "replication")
    return (
        Resource(identity=f"valkey:{replication['master_replid']}", carries="the server"),
        Resource(identity=f"address:{place(url)}", carries="the server's address"),
    )


def run_id_of(stands_on: str) -> str:
    """The run id in what `ground` says."""
    return stands_on.split(" ", maxsplit=1)[0]


def ground(client: valkey.Valkey) -> str:
    """Run id, role and replication id in one line: a restart, fail-over or change of role changes it."""
    server, replication = info(client, "server"), info(client, "replication")
    return f"run_id={server['run_id']} role={replication['role']} replication={replication['master_replid']}"
