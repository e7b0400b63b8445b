"""Keep a zygote that begins runs: a new one when it dies, when the code changes, and after many runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol

from deployments.responder.code import Code
from deployments.responder.orders import (
    HEAD,
    Begun,
    Ended,
    Message,
    Order,
    Outdated,
    Ready,
    framed,
    length_of,
    parsed,
)

#: What is imported before the first fork.
MODULES = ("flows.beforehand",)

#: Numerical libraries begin a thread for each processor as they are imported, which a fork would lose.
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")

#: A zygote that ends at once is begun again after so many seconds, doubled each time.
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0


class Listener(Protocol):
    """Who is told of runs."""

    def begun(self, message: Begun) -> None:
        """A run has a process."""

    def ended(self, message: Ended) -> None:
        """The process of a run has ended."""

    def orphaned(self, runs: frozenset[str]) -> None:
        """The zygote that was to begin *runs*, or had begun them, is gone."""

    def note(self, text: str) -> None:
        """Something to write down for people."""


class Zygote:
    """
    The other side of `zygote`: it can be asked at any time, also while none runs.

    Args:
        listener: Who is told of runs.
        modules: What is imported before the first fork.
        code: That of this process; while another one is on disk, whoever is there is not replaced.
    Attributes:
        is_ready: Set while one is there that has imported everything.
        environment: The whole environment of those that are made from now on.
    """

    def __init__(self, listener: Listener, modules: Sequence[str], code: Code) -> None:
        self.is_ready = asyncio.Event()
        self.environment: Mapping[str, str] = os.environ
        self._listener = listener
        self._modules = tuple(modules)
        self._code = code
        self._present: _Process | None = None
        self._tasks = set[asyncio.Task[None]]()
        self._is_closing = False

    @property
    def pid(self) -> int | None:
        """The number of its process."""
        return self._present.child.pid if self._present else None

    async def order(self, order: Order) -> None:
        """
        Have a run begun.

        Raises:
            ConnectionError: nobody is there any more; it was not begun.
        """
        await self.is_ready.wait()
        if self._present is None:
            raise ConnectionError("the zygote is gone")
        await self._present.send(order)

    async def keep(self) -> None:
        """See that one is there, until cancelled."""
        pause_s = _PAUSE_S
        while True:
            began_s = asyncio.get_running_loop().time()
            process = await _start(self._modules, self.environment)
            is_replaced = asyncio.Event()
            task = asyncio.create_task(self._listen(process, is_replaced))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await is_replaced.wait()
            lived_s = asyncio.get_running_loop().time() - began_s
            pause_s = _PAUSE_S if lived_s > _LONGEST_PAUSE_S else min(pause_s * 2, _LONGEST_PAUSE_S)
            if process.is_gone:
                await asyncio.sleep(pause_s)
            # What they say to each other may have changed as well: first the responder begins anew.
            while self._present is not None and self._code.is_changed:  # noqa: ASYNC110 - no file tells
                await asyncio.sleep(_PAUSE_S)

    async def close(self) -> None:
        """Let it end; what it has begun goes on."""
        self._is_closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, process: _Process, is_replaced: asyncio.Event) -> None:
        try:
            while (message := await process.next()) is not None:
                self._hear(message, process)
                if isinstance(message, Outdated):
                    is_replaced.set()
        finally:
            if self._present is process:
                self._present = None
                self.is_ready.clear()
            process.is_gone = True
            process.close()
            status = await asyncio.to_thread(process.child.wait)
            is_replaced.set()
            if not self._is_closing:
                if not process.is_retired:
                    self._listener.note(f"the process that runs begin from has ended with status {status}")
                self._listener.orphaned(frozenset(process.runs))

    def _hear(self, message: Message, process: _Process) -> None:
        match message:
            case Ready():
                former, self._present = self._present, process
                self.is_ready.set()
                if former is not None:
                    former.retire()
            case Begun():
                self._listener.begun(message)
            case Ended():
                process.runs.discard(message.run)
                self._listener.ended(message)
                process.leave_if_idle()
            case Outdated():
                self._listener.note(f"{message.reason}: what runs begin from is made anew")
            case Order():
                pass


class _Process:
    def __init__(
        self, child: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.child = child
        self.runs = set[str]()
        self.is_gone = False
        self.is_retired = False
        self._reader = reader
        self._writer = writer

    async def send(self, order: Order) -> None:
        self.runs.add(order.run)
        # If it ends meanwhile: whether it had begun the run is known when all was heard that it had said.
        with contextlib.suppress(OSError):
            self._writer.write(framed(order))
            await self._writer.drain()

    async def next(self) -> Message | None:
        try:
            head = await self._reader.readexactly(HEAD)
            return parsed(await self._reader.readexactly(length_of(head)))
        except (asyncio.IncompleteReadError, OSError):
            return None

    def retire(self) -> None:
        self.is_retired = True
        self.leave_if_idle()

    def leave_if_idle(self) -> None:
        if self.is_retired and not self.runs:
            self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.close()


async def _start(modules: Sequence[str], environment: Mapping[str, str]) -> _Process:
    ours, its = socket.socketpair()
    with its:
        # In a session of its own: Ctrl-C is for the responder, which lets the runs end.
        child = subprocess.Popen(  # noqa: ASYNC220, S603 - it returns at once
            [sys.executable, "-m", "deployments.responder.zygote", str(its.fileno()), *modules],
            pass_fds=(its.fileno(),),
            env=dict(environment) | dict.fromkeys(_ONE_THREAD, "1"),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    ours.setblocking(False)
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    return _Process(child, reader, writer)
