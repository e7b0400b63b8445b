"""Two services of a real supervisord for one address: an ill one, and a standby for when it is free."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from medic8.local.loopback import free_port
from medic8.model.target import Target
from medic8.targets.process.keepers.keeper import KeptState
from tests.targets.endpoint.services import endpoint
from tests.targets.process.supervised import Program, supervised, until
from tests.targets.valkey.bad_doors import HOST

#: Serves a status at a port of its own, and at the common one as soon as nobody else does.
_SERVER = """
import socket, sys, threading, time
status, *ports = sys.argv[1:]
def serve(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    while True:
        try:
            listener.bind(("127.0.0.1", int(port)))
            listener.listen(64)
            break
        except OSError:
            time.sleep(0.02)
    while True:
        near, _ = listener.accept()
        with near:
            near.settimeout(5)
            try:
                near.recv(65536)
                near.sendall(f"HTTP/1.1 {status} Said\\r\\nContent-Length: 0\\r\\n\\r\\n".encode())
            except OSError:
                pass
for port in ports[1:]:
    threading.Thread(target=serve, args=(port,), daemon=True).start()
serve(ports[0])
"""

_PROGRAM = """
[program:{name}]
command = {python} -I -S {folder}/serve.py {words}
autostart = {starts}
startsecs = 0
autorestart = true
stopsignal = KILL
"""

_DATA = """
[program:data]
command = {folder}/redis-server 3600
autostart = true
startsecs = 0
"""


@dataclass(frozen=True)
class Pair:
    """
    The programs ``first`` and ``second``; and ``data``, which is called as a data server is.

    Attributes:
        program: Their supervisord.
        port: Where whoever serves is asked.
        standby: Where ``second`` is asked beside that.
    """

    program: Program
    port: int
    standby: int

    def target(self, *, asks: bool = True, **fields: object) -> Target:
        """The endpoint; *asks*: the standby has a url of its own."""
        hook = {
            "service": self.program.url_of("second"),
            "replaces": self.program.url_of("first"),
            "timeout_s": 20,
            **({"standby": f"http://{HOST}:{self.standby}/"} if asks else {}),
            **fields,
        }
        return endpoint(
            f"http://{HOST}:{self.port}/", timeout_s=3, fail_over=hook, mode="act", allow=["fail_over"]
        )

    def runs(self, name: str) -> bool:
        """Whether its supervisord has it run."""
        return self.program.keeper(name).look().state not in {KeptState.STOPPED, KeptState.GAVE_UP}

    def anew(self) -> None:
        """Have the first serve, and the second stopped."""
        self.program.keeper("second").stop()
        until(lambda: not self.runs("second"), "the second ends")
        self.program.keeper("first").start({})
        until(lambda: _listens(self.port), "the first serves")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((HOST, port), timeout=5).close()
        return True
    return False


@contextlib.contextmanager
def pair(folder: Path, *, second: int = 200) -> Iterator[Pair]:
    """Get both; the first answers every request with status 500, the second with *second*."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port(())
    standby = free_port(())
    (folder / "serve.py").write_text(_SERVER)
    programs = (("first", f"500 {port}", "true"), ("second", f"{second} {standby} {port}", "false"))
    also = "".join(
        _PROGRAM.format(name=name, python=sys.executable, folder=folder, words=words, starts=starts)
        for name, words, starts in programs
    )
    shutil.copy(shutil.which("sleep") or "sleep", folder / "redis-server")
    with supervised(folder, also=also + _DATA.format(folder=folder)) as program:
        found = Pair(program, port, standby)
        found.anew()
        yield found
