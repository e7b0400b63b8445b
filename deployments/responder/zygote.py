"""
Fork a process for each run from one that has imported the flows, and has nothing else.

One thread, no connection, no event loop: a fork copies the thread that calls it and nothing of the others, so
whatever they held would be held for ever. Started by `warm.Zygote`; ends when the responder does, and leaves
the runs that it began to themselves.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from deployments.responder import child
from deployments.responder.code import on_disk
from deployments.responder.orders import Begun, Ended, Order, Outdated, Ready, framed, one_thread, received
from deployments.responder.records import Living, note
from medic8.owner import this_process

#: Each fork copies what was written to since; and what a library keeps of each run would pile up.
MOST_FORKS = 1000

#: How often the files of the code are looked at.
_LOOK_S = 3.0


def serve(channel: socket.socket, modules: Sequence[str]) -> None:
    """Import *modules*, then fork until *channel* is closed."""
    for module in modules:
        importlib.import_module(module)
    settled = child.warmed()
    one_thread()
    waking, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    # What a terminal sends to the whole group is the responder's affair.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    code, forks, is_outdated = on_disk(tuple(sys.modules)), 0, False
    runs: dict[int, Order] = {}
    with settled:
        channel.sendall(framed(Ready()))
        while True:
            ready, _, _ = select.select([channel.fileno(), waking], [], [], _LOOK_S)
            if waking in ready:
                _emptied(waking)
            for ended in _buried(runs):
                _say(channel, ended)
            if channel.fileno() in ready:
                order = received(channel)
                if not isinstance(order, Order):
                    return
                pid = _fork(order, (channel.fileno(), waking, told))
                runs[pid] = order
                forks += 1
            elif not ready and not is_outdated and (reason := _outdated(code, forks)):
                is_outdated = True
                _say(channel, Outdated(reason=reason))


def _fork(order: Order, inherited: Sequence[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        channel = inherited[0]
        process = this_process(order.run)
        # By the process itself: it may be begun by a zygote whose responder is gone already.
        note(Path(order.record), Living(run=order.run, process=process))
        os.write(channel, framed(Begun(run=order.run, process=process)))
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
        for each in inherited:
            os.close(each)
        status = child.carry_out(order)
    finally:
        # Never back into the loop of the parent, and nothing of what it would do at its own end.
        os._exit(status)


def _buried(runs: dict[int, Order]) -> Iterator[Ended]:
    while runs:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        if (order := runs.pop(pid, None)) is not None:
            reason = child.last_words(order)
            shutil.rmtree(order.folder, ignore_errors=True)
            yield Ended(run=order.run, status=os.waitstatus_to_exitcode(status), reason=reason)


def _say(channel: socket.socket, message: Ended | Outdated) -> None:
    # Nobody there to hear it: the next look at the channel says so.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        channel.sendall(framed(message))


def _emptied(pipe: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while os.read(pipe, 4096):
            pass


def _outdated(code: int, forks: int) -> str:
    if forks >= MOST_FORKS:
        return f"{forks} runs were begun from it"
    return "" if on_disk(tuple(sys.modules)) == code else "the code or the configuration has changed"


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
