"""
What a variant is: one way to break something for real, and what its author says is then true.

Nothing here imports Medic8, and a variant need not.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import valkey

from benchmarks.accuracy.causes import Answer, Cause
from benchmarks.accuracy.site import FailOverSite, ProcessSite, PruneSite, RequestSite, Site

__all__ = [
    "Answer",
    "Cause",
    "FailOverSite",
    "Kind",
    "ProcessSite",
    "PruneSite",
    "RequestSite",
    "Site",
    "Stage",
    "Truth",
    "Variant",
]

Kind = Literal["valkey", "grid", "process", "host", "endpoint"]

#: Kinds that always have a server.
ON_A_SERVER = frozenset({"valkey", "grid"})

#: Kinds of which each variant makes a target of its own, so that there cannot be two faults of one target.
OF_THEIR_OWN = frozenset({"process", "endpoint"})

_BOUND_S = 30.0

_SUPERVISOR = """
[supervisord]
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
nodaemon = true
[unix_http_server]
file = {folder}/s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:{name}]
command = {command}
directory = {folder}
startsecs = {startsecs}
startretries = 1000
autorestart = true
stdout_logfile = {folder}/out
stderr_logfile = {folder}/err
"""


@dataclass(frozen=True)
class Truth:
    """
    What is wrong, as the author of the variant knows it.

    Attributes:
        answer: The type; `Answer.NONE` for a healthy state.
        cause: Why.
        objects: Words that a right diagnosis has to name, all of them (a client's name, a key's prefix, a
            setting, a folder); empty where there is no object below the target itself.
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


@dataclass
class Stage:
    """
    Where a run takes place: a folder, and for some kinds a server of its own on a random port.

    Attributes:
        url: The server's address, ``valkey://127.0.0.1:PORT/0``; empty where there is none.
        folder: An empty folder for the variant's own files.
        data: The server's folder with its snapshot; the variant's own folder where there is no server.
        server_pid: The server's process; 0 where there is none.
        grid: Name of the grid; empty for all kinds but grid.
        prefix: What the keys of the variant have to begin with; random, without a colon at its end.
        word: A random word for names of clients, programs, files and so on.
        strength: Drawn from the variant's range.
        rng: All that is random is drawn from it.
        cleanup: What is called at the end of the run, the last first.
        notes: For the variant's own use between `prepare`, `break_it`, `site` and `is_there`.
        said: The line that the last program of `keep_going` has printed, such as its port.
        rewritten: Keys of the grid that the variant has written as an application does, so that what was
            there before is not the right value; or of which nothing can bring the right value back.
        replica_url: Address of a replica that follows the server; empty where `Variant.has_replica` is not.
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
    said: str = ""
    rewritten: list[str] = field(default_factory=list)
    replica_url: str = ""

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

        Returns when the program has printed its first line, which is `said` then, or has ended.

        Args:
            program: The source; it prints one line (flushed) when the fault is there, and then goes on.
            words: Its ``sys.argv[1:]``.
        """
        process = subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE)
        self.cleanup.callback(_end, process)
        assert process.stdout is not None
        self.said = process.stdout.readline().decode().strip()
        return process

    def supervise(self, program: str, *words: str, startsecs: int = 0) -> str:
        """
        Have a supervisord of this run's own keep Python source running; the address of that process.

        Returns when it has been started, whether it still runs or not. Both end with the run.

        Args:
            program: The source; a file of it is the process's first word.
            words: Its ``sys.argv[1:]``, without quotes and per cent signs.
            startsecs: A process that ends sooner was not started, by supervisord's own reckoning.
        """
        folder = self.folder / "s"
        folder.mkdir()
        source = folder / f"{self.word}.py"
        source.write_text(program)
        command = " ".join((sys.executable, str(source), *words))
        file = folder / "supervisord.conf"
        file.write_text(
            _SUPERVISOR.format(folder=folder, name=self.word, command=command, startsecs=startsecs)
        )
        server = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.cleanup.callback(_stop, server)
        log, deadline = folder / "supervisord.log", time.monotonic() + _BOUND_S
        while not log.exists() or f"spawned: '{self.word}'" not in log.read_text():
            if server.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"supervisord has not started {self.word} within {_BOUND_S:g} s")
            time.sleep(0.05)
        return f"supervisor+unix://{quote(str(folder / 's'))}?program={self.word}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _stop(server: subprocess.Popen[bytes]) -> None:
    """A supervisor ends what it has started, if it is asked to."""
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(timeout=20)
    _end(server)


def _nothing(_: Stage) -> str:
    return ""


@dataclass(frozen=True)
class Variant:
    """
    One way to break something, or a healthy state that looks broken.

    Attributes:
        name: Unique.
        kind: What it breaks.
        strength: Least and most of what is drawn (both may be drawn).
        truth: What is true once it is broken; called after `break_it`.
        break_it: Breaks it for real; returns the address to diagnose, empty if that is the server's own, the
            host itself, or what `prepare` returned.
        is_there: Whether a plain client sees the fault (or the state) now; asked after breaking and after
            healing. Bounded: at most 10 s.
        site: What the site has configured; called after `prepare`, and again after `break_it`.
        is_healthy: Whether it is a healthy state, whose truth is `Answer.NONE`.
        alone: Whether nothing else can be broken beside it (the server answers nobody, or the fault is met at
            an address of its own). Variants of the kinds process and endpoint always are.
        config: Directives of ``valkey.conf`` for the server of this run.
        has_server: Whether kinds process, host and endpoint get a server too.
        has_replica: Whether a replica follows the server, in step with it before anything is broken.
        prepare: Brings about what is there while all is well, such as a healthy process, service or disk;
            returns its address, empty if there is nothing to be looked at yet.
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
    has_server: bool = False
    has_replica: bool = False
    prepare: Callable[[Stage], str] = _nothing

    @property
    def is_alone(self) -> bool:
        """Whether it can be the only fault of its run alone."""
        return self.alone or self.kind in OF_THEIR_OWN

    @property
    def needs_server(self) -> bool:
        """Whether its run has a server."""
        return self.has_server or self.kind in ON_A_SERVER
