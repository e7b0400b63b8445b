"""A program under a supervisor of its own, that does what a fault or a state of a process is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from medic8.errors import Medic8Error, RefusedError
from medic8.local.lab.acting.order import Order, Play, Ready
from medic8.local.lab.acting.program_names import LATEST, PROGRAM, SOCKET, address_of
from medic8.local.lab.acting.subject import BEGUN
from medic8.targets.process.keepers.keeper import KeptState
from medic8.targets.process.keepers.supervisord import Supervisord
from medic8.targets.process.naming import Supervised

_WAIT_S = 20.0
_LOOK_S = 0.05

#: Longest path of a Unix socket (unix(7)).
_LONGEST_PATH = 107

_CONFIGURATION = """
[supervisord]
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
nodaemon = true

[unix_http_server]
file = {folder}/s

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[program:{name}]
command = {python} -m medic8.local.lab.acting.subject {style} {amount} {folder}
directory = {folder}
environment = MALLOC_ARENA_MAX="1",MEDIC8_LAB_GROUP="{group}"
startsecs = {startsecs}
startretries = 1000
autorestart = true
stdout_logfile = {folder}/out
stderr_logfile = {folder}/err
"""

#: By the style: where groups are made for it, and the file that they must have, of version 2 and 1: the
#: weight of the processor, and the limit of memory.
_GROUPS = {
    "hog": ((Path("/sys/fs/cgroup"), "cpu.weight"), (Path("/sys/fs/cgroup/cpu"), "cpu.shares")),
    "page_cache": (
        (Path("/sys/fs/cgroup"), "memory.max"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    ),
}

#: What the program itself may take of a limit, beside the file that it writes.
_OWN_MIB = 32


def program(order: Order) -> Play:
    """
    Start a supervisor and its program, which does what the style says; see `medic8.local.lab.acting.subject`.

    Raises:
        RefusedError: there is no supervisor, or its socket would have too long a name.
    """
    folder = Path(tempfile.mkdtemp(prefix="p", dir=order.folder))
    socket = folder / SOCKET
    if len(str(socket)) > _LONGEST_PATH - len(".12345678"):
        raise RefusedError(f"{socket} is too long for a socket; set MEDIC8_HOME to a shorter one")
    configuration = folder / "supervisord.conf"
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(_group(order)) if order.style in _GROUPS else None
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                name=PROGRAM,
                python=sys.executable,
                style=order.style,
                amount=order.amount,
                group=group or "",
                # One that ends at once is to be seen as that.
                startsecs=1 if order.style == "loop" else 0,
            )
        )
        server = subprocess.Popen(  # noqa: S603 - a program of our own requirements
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=(folder / "supervisord.out").open("w"),
            stderr=subprocess.STDOUT,
        )
        keeper = Supervisord(Supervised(PROGRAM, socket=str(socket)), timeout_s=5)
        stack.callback(_end, server, keeper)
        pid = _started(server, keeper, folder)
        _lead_to(folder, Path(order.folder) / LATEST)
        if order.style == "restart":
            pid = _restarted(keeper)
        yield Ready(
            told=(f"process {pid} of program {PROGRAM} {_TOLD[order.style].format(order.amount)}",),
            url=address_of(folder),
            family=(server.pid,),
            folders=(str(folder),),
        )
        while server.poll() is None:
            time.sleep(1.0)
            yield Ready()


#: What the program does, by the style.
_TOLD = {
    "linear": "takes {} MiB more of memory each second",
    "steps": "takes {} MiB more of memory each second, in steps",
    "bursts": "takes {} MiB more of memory each second, and more for a moment now and then",
    "descriptors": "opens {} descriptors each second and closes none",
    "threads": "starts {} threads each second that never end",
    "hog": "computes in {} threads",
    "loop": "ends as soon as it is started",
    "zombies": "starts {} children each second and waits for none",
    "sawtooth": "takes {} MiB and gives them back, again and again",
    "warming": "takes {} MiB and then no more",
    "page_cache": "reads and writes a file of {} MiB",
    "restart": "was restarted by somebody who meant to",
    "rotation": "writes a log that is rotated {} times a second",
}


def _started(server: subprocess.Popen[bytes], keeper: Supervisord, folder: Path) -> int:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            said = (folder / "supervisord.out").read_text().strip().splitlines() or ["nothing"]
            raise RefusedError(f"supervisord ended at once and said: {said[-1]}")
        # Who is not asked before it listens does not come to be left alone for a while.
        with contextlib.suppress(Medic8Error):
            kept = keeper.look() if (folder / BEGUN).exists() else None
            if kept is not None and (kept.pid is not None or kept.state is KeptState.FAILS):
                return kept.pid or 0
        time.sleep(_LOOK_S)
    raise RefusedError(f"supervisord has not started the program within {_WAIT_S:g} s")


def _restarted(keeper: Supervisord) -> int:
    """Have it stopped and started, as one does after an update."""
    keeper.stop()
    deadline = time.monotonic() + _WAIT_S
    while (kept := keeper.look()).pid is not None and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    keeper.start({})
    while (kept := keeper.look()).pid is None and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    return kept.pid or 0


def _lead_to(folder: Path, link: Path) -> None:
    """Have *link* lead to *folder*, whatever it led to."""
    work = link.with_name(f"{link.name}.{os.getpid()}")
    work.unlink(missing_ok=True)
    work.symlink_to(folder.name)
    work.replace(link)


def _end(server: subprocess.Popen[bytes], keeper: Supervisord) -> None:
    """Have the supervisor end what it started, and itself; it hears a question at once, a signal later."""
    with contextlib.suppress(Medic8Error):
        keeper.ask("supervisor.shutdown")
    server.terminate()
    try:
        server.wait(timeout=15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@contextlib.contextmanager
def _group(order: Order) -> Iterator[Path | None]:
    """Get a control group for the program: with a weight, or with a limit; None if none can be made."""
    made = None
    for root, file in _GROUPS[order.style]:
        folder = root / f"medic8-lab-{os.getpid()}"
        with contextlib.suppress(OSError):
            folder.mkdir()
            if (folder / file).exists():
                made = folder
                if order.style == "page_cache":
                    (folder / file).write_text(str((order.amount + _OWN_MIB) << 20))
                break
            folder.rmdir()
    try:
        yield made
    finally:
        if made is not None:
            with contextlib.suppress(OSError):
                made.rmdir()
