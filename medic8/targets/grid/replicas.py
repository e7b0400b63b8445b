"""
Find the replicas of a grid's server, and take pages out of them.

A replica is only read. The target's credentials go to replicas that the
configuration names, and to no others: what a server says of its replicas is
what somebody told it, and a password sent there is a password given away.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import valkey

from medic8.errors import Medic8Error, RefusedError
from medic8.model.target import Target
from medic8.targets.grid.format import Manifest
from medic8.targets.grid.image import GroupImage
from medic8.targets.grid.judgement import Candidates
from medic8.targets.grid.layout import BLOCK_BYTES, PAGE_BYTES
from medic8.targets.grid.manifest import read_manifest
from medic8.targets.grid.reading import read_group
from medic8.targets.valkey.address import place
from medic8.targets.valkey.client import connect, info, reaching
from medic8.targets.valkey.conversation import conversation

#: Replicas that are asked, at most; those that the configuration names come first.
_MOST_REPLICAS = 16

_MOST_PORT = 65_535

#: A replica further behind is said to be; what it has counts all the same where it proves itself.
_MOST_BEHIND_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Replica:
    """
    Where a replica is.

    Attributes:
        place: Host and port, or a socket's path; without secrets.
        url: Its address, maybe with credentials; never printed.
        is_named: Whether the configuration names it.
    """

    place: str
    url: str = field(repr=False)
    is_named: bool


def primary_of(client: valkey.Valkey) -> str:
    """Host and port of the primary if the server is a replica, else empty."""
    replication = info(client, "replication")
    if replication.get("role") == "master":
        return ""
    return f"{replication.get('master_host', 'unknown')}:{replication.get('master_port', 'unknown')}"


def replicas_of(client: valkey.Valkey, target: Target) -> tuple[Replica, ...]:
    """The replicas of *target*: those that its configuration names, then those that its server knows."""
    named = [Replica(place(url), url, is_named=True) for url in target.replica_addresses]
    known = {replica.place for replica in named}
    found = [
        Replica(place(url), url, is_named=False)
        for host, port in _told(client)
        if place(url := _address(target, host, port)) not in known
    ]
    return tuple(dict.fromkeys((*named, *found)))[:_MOST_REPLICAS]


def _told(client: valkey.Valkey) -> Iterator[tuple[str, int]]:
    """
    Host and port of each replica that the server itself names.

    Anybody who may replicate announces what he likes; what is no host and port is passed over.
    """
    for name, value in sorted(info(client, "replication").items()):
        if name.startswith("slave") and name[5:].isdigit() and isinstance(value, dict):
            host, port = str(value.get("ip", "")), str(value.get("port", ""))
            if _is_host(host) and re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= _MOST_PORT:
                yield host, int(port)


def _is_host(text: str) -> bool:
    if ":" not in text:
        return re.fullmatch(r"[A-Za-z0-9._-]{1,253}", text) is not None
    try:
        return ipaddress.IPv6Address(text).scope_id is None
    except ValueError:
        return False


def _address(target: Target, host: str, port: int) -> str:
    """The address of a replica that nobody named: like the target's, without its credentials."""
    parts = urlsplit(target.address)
    host = f"[{host}]" if ":" in host else host
    scheme, path = (parts.scheme, parts.path) if parts.scheme != "unix" else ("valkey", "")
    return urlunsplit((scheme, f"{host}:{port}", path, "", ""))


@dataclass
class ReplicaReader:
    """
    Reads groups from one replica over one connection.

    Attributes:
        replica: Which one.
        warnings: What a person should know of it, one sentence each.
    """

    replica: Replica
    client: valkey.Valkey
    manifest: Manifest
    warnings: tuple[str, ...]

    def candidates(self, group: int, wanted: Iterable[tuple[int, int]]) -> Candidates:
        """
        Pages of *group* as the replica holds them at one moment.

        They count only where they match a checksum that the primary still holds,
        so a page that the replica has not got yet, or that was damaged there as
        well, is never taken.
        """
        with reaching(self.replica.url), conversation(self.client) as talk:
            image = read_group(talk, self.manifest, group)
        return {at: [content] for at in wanted if (content := _page(image, *at))}


@contextlib.contextmanager
def reading_from(
    replica: Replica, manifest: Manifest, timeout_s: float, *, offset: int = 0
) -> Iterator[ReplicaReader]:
    """
    A connection to *replica*, which is looked at first.

    Args:
        replica: Which one.
        manifest: Of the grid, as the primary has it.
        timeout_s: Longest wait for one reply.
        offset: How far the primary's replication stream had come; 0 is not known.
    Raises:
        UnreachableError: it does not answer, or does not let us in.
        RefusedError: it is no replica, or holds another grid.
    """
    # Errors of the body are not the replica's, so they are not translated here.
    with contextlib.closing(connect(replica.url, timeout_s=timeout_s)) as client:
        with reaching(replica.url):
            replication = info(client, "replication")
            if replication.get("role") != "slave":
                raise RefusedError("it is no replica any more")
            found = read_manifest(client, manifest.name).manifest
        if found.uuid != manifest.uuid:
            raise RefusedError(f"its grid {manifest.name!r} is {found.uuid}, not {manifest.uuid}")
        yield ReplicaReader(replica, client, manifest, tuple(_warnings(replication, offset)))


def replication_offset(client: valkey.Valkey) -> int:
    """How far a primary's replication stream has come, in bytes; 0 if it does not say."""
    return int(info(client, "replication").get("master_repl_offset", 0))


def _warnings(replication: Mapping[str, Any], offset: int) -> Iterator[str]:
    if replication.get("master_link_status") != "up":
        yield "its link to the primary is down, so it holds an older state"
        return
    behind = offset - int(replication.get("slave_repl_offset", 0))
    if behind > _MOST_BEHIND_BYTES:
        yield f"it is {behind:,} bytes behind the primary; the limit is {_MOST_BEHIND_BYTES:,}"


def unusable(replica: Replica, error: Medic8Error) -> str:
    """Why *replica* could not be used, in a sentence without secrets."""
    hint = ""
    if not replica.is_named and ("NOAUTH" in str(error) or "does not let us in" in str(error)):
        hint = '; name it under "replicas" of the target, and the target\'s credentials are used'
    return f"replica {replica.place}: {error}{hint}"


def _page(image: GroupImage, role: int, page: int) -> bytes:
    value = image.values[role]
    content = (
        value[:BLOCK_BYTES][page * PAGE_BYTES : (page + 1) * PAGE_BYTES] if isinstance(value, bytes) else b""
    )
    return content if len(content) == PAGE_BYTES else b""
