"""
What a variant is: one way to break a real server or grid, and what its author says is then true.

Nothing here imports Medic8, and a variant need not.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

import valkey

Kind = Literal["valkey", "grid"]


class Answer(StrEnum):
    """What is wrong: one of six, or nothing."""

    GRID_CORRUPTION = "grid_corruption"
    MEMORY_LEAK = "memory_leak"
    SYNCHRONIZATION = "synchronization"
    SLOW_OPERATIONS = "slow_operations"
    RESOURCE_EXHAUSTION = "resource_exhaustion"
    NETWORK = "network"
    NONE = "none"


class Cause(StrEnum):
    """Why, in an operator's words; the value is what the table shows."""

    DAMAGED_VALUES = "values of the grid are damaged, missing or stale"
    STALE_LOCK = "a lock's holder is gone"
    DEADLOCK = "holders of locks wait for each other"
    UNREAD_OUTPUT = "a client does not read its answers"
    MONITOR = "a client watches all commands"
    IDLE_CLIENTS = "many connections that do nothing"
    DEAD_CLIENTS = "connections of clients that are gone"
    MANY_CLIENTS = "too many connections"
    KEYS_WITHOUT_EXPIRY = "keys that pile up without an expiry"
    SCRIPTS = "cached scripts"
    PENDING_ENTRIES = "stream entries that nobody acknowledges"
    GROWING_STREAM = "a stream that nobody trims"
    TRACKING = "the table of what clients cache"
    IDLE_BACKLOG = "a replication backlog without replicas"
    FRAGMENTATION = "memory that is held and not used"
    MEMORY_LIMIT = "the server's memory limit is reached"
    HOST_MEMORY = "the host is short of memory"
    COSTLY_COMMAND = "commands that take long, sent again and again"
    SCRIPT_RUNS = "a script that does not end"
    LARGE_KEY = "a key that is too large"
    SLOW_DELETE = "deletions that block"
    EXPIRY_STORM = "many keys that expire at once"
    PAUSED = "clients are paused"
    SLOW_DISK = "the disk is slow"
    SAVE_FAILS = "a snapshot or log cannot be written"
    DAMAGED_FILES = "a file on disk is damaged"
    REPLICATION_BROKEN = "a replica has lost its primary"
    REPLICA_LAGS = "a replica falls behind"
    BACKLOG_SMALL = "a backlog or buffer too small, so that replicas need full copies"
    REPLICA_WRITABLE = "a replica takes writes of its own"
    REPLICA_DIFFERS = "a replica holds other data than its primary"
    WRONG_PRIMARY = "two primaries, or another primary than expected"
    WAY_SLOW = "the network between is slow or loses packets"
    WAY_CUT = "the server cannot be reached, or connections break"
    WAY_FLAPS = "the server comes and goes"
    CERTIFICATE = "a certificate ends soon, or is refused"
    SETTING = "a setting is out of the range that the site asks for"
    CLOCK = "the clock is wrong or jumped"
    RESTARTS = "the server starts again and again"
    UNKNOWN = "the cause is not told"
    OTHER = "none of these"
    NONE = "nothing is wrong"


@dataclass(frozen=True)
class Truth:
    """
    What is wrong, as the author of the variant knows it.

    Attributes:
        answer: The type; `Answer.NONE` for a healthy state.
        cause: Why.
        objects: Words that a right diagnosis has to name, all of them (a client's name, a key's prefix, a
            setting); empty where there is no object below the server or grid.
        also_answer: Other types that the author would call right.
        also_cause: Other causes that the author would call right.
        healable: Whether something may be done about it by a program; else only advice is right.
    """

    answer: Answer
    cause: Cause = Cause.NONE
    objects: tuple[str, ...] = ()
    also_answer: tuple[Answer, ...] = ()
    also_cause: tuple[Cause, ...] = ()
    healable: bool = False


@dataclass(frozen=True)
class Site:
    """
    What the site has configured for its target before anything broke.

    Attributes:
        setting: (name, minimum, maximum) of settings that have a range; None = no limit on that side.
        expiry: (prefix, seconds) of keys that may live so long.
        timeout_s: Longest wait for a reply.
    """

    setting: tuple[tuple[str, int | None, int | None], ...] = ()
    expiry: tuple[tuple[str, int], ...] = ()
    timeout_s: float = 5.0


@dataclass
class Stage:
    """
    A server of this run's own, on a random port, to be broken.

    Attributes:
        url: Its address, ``valkey://127.0.0.1:PORT/0``.
        folder: An empty folder for the variant's own files.
        data: The server's folder with its snapshot.
        server_pid: The server's process.
        grid: Name of the grid; empty for kind valkey.
        prefix: What the keys of the variant have to begin with; random, without a colon at its end.
        word: A random word for names of clients, streams and so on.
        strength: Drawn from the variant's range.
        rng: All that is random is drawn from it.
        cleanup: What is called at the end of the run, the last first.
        notes: For the variant's own use between `break_it` and `is_there`.
    """

    url: str
    folder: Path
    data: Path
    server_pid: int
    grid: str
    prefix: str
    word: str
    strength: int
    rng: random.Random
    cleanup: ExitStack
    notes: dict[str, str] = field(default_factory=dict)

    def client(self, url: str = "", *, name: str = "", timeout_s: float = 30.0) -> valkey.Valkey:
        """A plain client that tries nothing twice, closed at the end of the run; values are bytes."""
        client = valkey.Valkey.from_url(
            url or self.url, socket_timeout=timeout_s, retry=None, client_name=name or None
        )
        self.cleanup.callback(client.close)
        return client

    def keep_going(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        """
        Run Python source in a process of its own until the end of the run; then it gets SIGKILL.

        Returns when the program has printed its first line, or has ended.

        Args:
            program: The source; it prints one line (flushed) when the fault is there, and then goes on.
            words: Its ``sys.argv[1:]``.
        """
        process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE)
        self.cleanup.callback(_end, process)
        assert process.stdout is not None
        process.stdout.readline()
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@dataclass(frozen=True)
class Variant:
    """
    One way to break something, or a healthy state that looks broken.

    Attributes:
        name: Unique.
        kind: What it breaks.
        strength: Least and most of what is drawn (both may be drawn).
        truth: What is true once it is broken; called after `break_it`.
        break_it: Breaks it for real; returns the address to diagnose, empty if that is the server's own.
        is_there: Whether a plain client sees the fault (or the state) now; asked after breaking and after
            healing. Bounded: at most 10 s.
        site: What the site has configured.
        is_healthy: Whether it is a healthy state, whose truth is `Answer.NONE`.
        alone: Whether nothing else can be broken beside it (the server answers nobody, or the fault is met at
            an address of its own).
        config: Directives of ``valkey.conf`` for the server of this run.
    """

    name: str
    kind: Kind
    strength: tuple[int, int]
    truth: Callable[[Stage], Truth]
    break_it: Callable[[Stage], str]
    is_there: Callable[[Stage], bool]
    site: Callable[[Stage], Site] = lambda _: Site()
    is_healthy: bool = False
    alone: bool = False
    config: tuple[tuple[str, str], ...] = ()
