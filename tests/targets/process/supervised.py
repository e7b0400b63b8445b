"""A real supervisord with a real program that does what a test tells it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medic8.errors import TransientError, UnreachableError
from medic8.model.target import ProcessCare, Target
from medic8.targets.process.keepers.keeper import Kept, KeptState
from medic8.targets.process.keepers.supervisord import Supervisord
from medic8.targets.process.naming import Supervised

MISSING = "" if importlib.util.find_spec("supervisor") else "supervisor is not installed"

_WAIT_S = 20.0

#: Runs the lines of Python that come through a pipe, one after the other; opens its log again at SIGHUP.
WORKER = """
import os, signal, sys, threading, time
kept = []
log = open(os.environ["WORKER_LOG"], "a", buffering=1)
def again(*_):
    global log
    log.close()
    log = open(os.environ["WORKER_LOG"], "a", buffering=1)
signal.signal(signal.SIGHUP, again)
fifo = os.environ["WORKER_FIFO"]
open(os.environ["WORKER_FIFO"] + ".ready", "w").close()
while True:
    with open(fifo) as lines:
        for line in lines:
            exec(line)
            open(fifo + ".done", "a").write("x")
"""

_CONFIGURATION = """
[supervisord]
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
nodaemon = true
user = {user}

[unix_http_server]
file = {folder}/s

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[program:worker]
command = {python} {folder}/worker.py
environment = WORKER_FIFO="{folder}/fifo",WORKER_LOG="{folder}/worker.log",SECRET="hush"
startsecs = 0
autorestart = true
stopwaitsecs = 5
stdout_logfile = {folder}/worker.out
stderr_logfile = {folder}/worker.err

[program:sleeper]
command = /bin/sleep 3600
environment = SECRET="hush"
autostart = false
startsecs = 0
autorestart = true

[program:flapping]
command = /bin/false
autostart = false
startsecs = 1
startretries = 3
"""


@dataclass
class Program:
    """
    The program ``worker`` of a supervisord.

    Attributes:
        folder: Holds the socket ``s`` and everything else.
    """

    folder: Path

    @property
    def url(self) -> str:
        """How a target names it."""
        return self.url_of("worker")

    def url_of(self, program: str) -> str:
        return f"supervisor+unix://{self.folder}/s?program={program}"

    def target(self, *allow: str, program: str = "worker", **care: object) -> Target:
        return Target(
            name="worker",
            kind="process",
            url=self.url_of(program),
            mode="act",
            allow=allow,
            process=ProcessCare.model_validate({"warm_up_s": 0, "timeout_s": 10, **care}),
        )

    def keeper(self, program: str = "worker") -> Supervisord:
        return Supervisord(Supervised(program, socket=str(self.folder / "s")), timeout_s=5)

    def answers(self) -> bool:
        """Whether its supervisord does; the socket is there before anybody listens."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as talk:
            talk.connect(str(self.folder / "s"))  # not by Medic8, which leaves who does not answer alone
            self.kept()
            return True
        return False

    def kept(self) -> Kept:
        return self.keeper().look()

    @property
    def pid(self) -> int:
        found = self.kept().pid
        assert found is not None
        return found

    def begin(self, *lines: str) -> None:
        """Have the program begin to run *lines*."""
        with (self.folder / "fifo").open("w") as fifo:
            fifo.write("\n".join(lines) + "\n")

    def tell(self, *lines: str) -> None:
        """Have the program run *lines*; returns when it has."""
        done = self.folder / "fifo.done"
        done.write_text("")
        self.begin(*lines)
        until(lambda: len(done.read_text()) == len(lines), "the program did what it was told")

    def runs(self) -> None:
        """Wait until it runs and hears us, and start it if it does not."""
        ready = self.folder / "fifo.ready"
        if self.kept().state is KeptState.STOPPED:
            self.keeper().start({})
        until(lambda: self.kept().state is KeptState.RUNS, "the program runs")
        until(ready.exists, "the program hears")

    def anew(self) -> None:
        """Have another process, without what earlier ones were told."""
        self.keeper().stop()
        until(lambda: self.kept().pid is None, "the program ends")
        (self.folder / "fifo.ready").unlink(missing_ok=True)
        self.runs()


def until(holds: object, what: str, wait_s: float = _WAIT_S) -> None:
    """Wait until *holds* says yes."""
    end = time.monotonic() + wait_s
    while not holds():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


@contextlib.contextmanager
def supervised(folder: Path, *, also: str = "") -> Iterator[Program]:
    """Get a supervisord of its own, with programs that *also* configures; gone after the block, with all."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "worker.py").write_text(WORKER)
    os.mkfifo(folder / "fifo")
    configuration = folder / "supervisord.conf"
    text = _CONFIGURATION.format(folder=folder, python=sys.executable, user=os.geteuid())
    configuration.write_text(text + also)
    with (folder / "out").open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)], stdout=out, stderr=out
        )
    program = Program(folder)
    try:
        until(program.answers, "supervisord answers")
        program.runs()
        yield program
    finally:
        with contextlib.suppress(UnreachableError, TransientError):
            program.keeper().ask("supervisor.shutdown")  # it hears a signal a second later
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
