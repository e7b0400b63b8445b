"""A primary and its replica, and an oracle that compares them key by key with no code of Medic8's."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import valkey

from medic8.local.scratch import ScratchValkey, scratch_valkey

_PATIENCE_S = 60.0

#: Somebody who writes so many bytes at once, so often in each second, to a few keys.
WRITER = """
import sys, time, valkey
client = valkey.Valkey.from_url(sys.argv[1])
size, each_s = int(sys.argv[2]), 1 / float(sys.argv[3])
number = 0
while True:
    client.set(f"written:{number % 16}", str(number).encode().ljust(size, b"."))
    number += 1
    if number == 1:
        print(flush=True)
    time.sleep(each_s)
"""


@contextlib.contextmanager
def pair(
    folder: Path, *, engine: Path | None = None, **config: str
) -> Iterator[tuple[ScratchValkey, ScratchValkey]]:
    """Get a primary, with *config* (``_`` for ``-``), and a replica that is in step with it."""
    directives = {name.replace("_", "-"): value for name, value in config.items()}
    for name in ("primary", "replica"):
        (folder / name).mkdir(parents=True)
    with (
        scratch_valkey(
            folder / "primary", config={"repl-diskless-sync-delay": "0", **directives}, engine=engine
        ) as primary,
        scratch_valkey(
            folder / "replica", config={"replicaof": f"127.0.0.1 {primary.port}"}, engine=engine
        ) as replica,
    ):
        until(lambda: is_in_step(primary.url, replica.url))
        yield primary, replica


@contextlib.contextmanager
def writing(url: str, *, size: int, per_s: float) -> Iterator[None]:
    """Somebody writes all the time, in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(size), str(per_s)], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield
    finally:
        child.kill()
        child.communicate()


def cut_off(primary: str, missed: int) -> None:
    """Cut the replicas off, with *missed* bytes written before any can come back."""
    with valkey.Valkey.from_url(primary) as client, client.pipeline() as pipe:
        pipe.execute_command("CLIENT", "KILL", "TYPE", "replica")
        for number in range(4):
            pipe.set(f"missed:{number}", b"x" * (missed // 4))
        pipe.execute()


def until(holds: Callable[[], bool], patience_s: float = _PATIENCE_S) -> None:
    """Wait until *holds*; fails after *patience_s*."""
    deadline_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.05)


def is_in_step(primary: str, replica: str) -> bool:
    """Whether the replica's link is up and it has all that was written."""
    with valkey.Valkey.from_url(primary) as one, valkey.Valkey.from_url(replica) as other:
        theirs = other.info("replication")
        ours = one.info("replication")
    return (
        theirs.get("master_link_status") == "up"
        and theirs["master_replid"] == ours["master_replid"]
        and theirs["slave_repl_offset"] == ours["master_repl_offset"]
    )


def contents(url: str) -> Mapping[bytes, tuple[bytes, int, object]]:
    """Every key but Medic8's claim: its type, absolute expiry and value."""
    found: dict[bytes, tuple[bytes, int, object]] = {}
    with valkey.Valkey.from_url(url) as client:
        for name in client.scan_iter(count=1000):
            if name.startswith(b"medic8:"):
                continue
            kind = client.type(name)
            read = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"set": client.smembers,
                b"list": lambda key: client.lrange(key, 0, -1),
                b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            }[kind]
            found[name] = (kind, client.pexpiretime(name), read(name))
    return found


@contextlib.contextmanager
def written_to(replica: str) -> Iterator[valkey.Valkey]:
    """Get a client that writes to a replica, which takes writes for that long only."""
    with valkey.Valkey.from_url(replica) as client:
        client.config_set("replica-read-only", "no")
        try:
            yield client
        finally:
            client.config_set("replica-read-only", "yes")
