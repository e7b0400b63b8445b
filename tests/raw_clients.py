"""Clients of a server that are plain sockets: they send what a test sends, and read nothing by themselves."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from typing import Self

import valkey

from medic8.targets.facts import Facts
from medic8.targets.valkey.client import options_of


def busy_for(seconds: float) -> str:
    """A script that takes a server so long by its own clock, on a machine of any speed."""
    return f"local began = os.clock() while os.clock() - began < {seconds:g} do end"


BUSY = busy_for(0.5)
EXPENSIVE = ("EVAL", BUSY, "0")
_CHEAP = ("EVAL", "return 1", "0")

#: The key that slow readers ask for, and how often: three times what is worth a word.
LARGE, LARGE_BYTES, TIMES = "large", 1 << 20, 24

#: So many of the answers may have left the server for the buffers of the kernel.
_ON_ITS_WAY = 8

_PATIENCE_S = 60.0


def wait_until(is_so: Callable[[], object], what: str) -> None:
    """Wait for a condition, with a bound."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"{what}: not within {_PATIENCE_S:.0f} s")
        time.sleep(0.005)


def connected(client: valkey.Valkey) -> dict[int, Facts]:
    """Who is connected, by number, as the client library reads CLIENT LIST."""
    return {int(each["id"]): Facts(each) for each in client.client_list()}


def clients_of(url: str) -> dict[int, Facts]:
    """The same for a server of which one has the address only; who asks is listed too."""
    with valkey.Valkey.from_url(url) as client:
        return connected(client)


class RawClient:
    """
    A client on a socket of its own, which goes when the block goes.

    Attributes:
        id: Its number on the server.
        address: Where it comes from, as the server sees it.
    """

    def __init__(self, url: str, name: str = "") -> None:
        self._url = url
        options = options_of(url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(_PATIENCE_S)
        self._socket.bind((self.source(), 0))
        self._socket.connect((options["host"], options["port"]))
        self._file = self._socket.makefile("rb")
        if name:
            self.ask("CLIENT", "SETNAME", name)
        self.id = int(self.ask("CLIENT", "ID")[1:])
        self.address = "{}:{}".format(*self._socket.getsockname())

    def source(self) -> str:
        """The address that it connects from."""
        return "127.0.0.1"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        self._file.close()
        self._socket.close()

    def ask(self, *words: str | bytes) -> bytes:
        """The first line of the answer to one command; empty if the server has closed the connection."""
        with contextlib.suppress(ConnectionError):
            self.send(*words)
            return self._file.readline().rstrip()
        return b""

    def send(self, *words: str | bytes) -> None:
        """Send one command and read nothing."""
        encoded = [word.encode() if isinstance(word, str) else word for word in words]
        packed = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
        self.send_raw(b"*%d\r\n%s" % (len(words), packed))

    def send_raw(self, piece: bytes) -> None:
        """Send bytes as they are, such as a part of a command."""
        self._socket.sendall(piece)

    def read(self, size_bytes: int) -> int:
        """Read so much; how much there was before the server hung up."""
        with contextlib.suppress(ConnectionError):
            return len(self._file.read(size_bytes))
        return 0

    def leave(self) -> None:
        """Hang up, also where a forked child holds the same socket."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def facts(self) -> Facts | None:
        """As the server lists it; None if it is not connected."""
        return clients_of(self._url).get(self.id)

    @property
    def is_connected(self) -> bool:
        """Whether the server still has it."""
        return self.facts() is not None

    @property
    def waiting_bytes(self) -> int:
        """Output that waits for it on the server."""
        found = self.facts()
        return (found.whole("omem") or 0) if found else 0

    def is_expensive(self, times: int = 1, *, cheaply: bool = False) -> Self:
        """Run an expensive command; *cheaply*: one of the same name that is not."""
        for _ in range(times):
            self.ask(*(_CHEAP if cheaply else EXPENSIVE))
        return self

    def stop_reading(self, times: int = TIMES) -> Self:
        """
        Ask for the large value many times in one go, until much waits.

        A server may look at no further command of a client for whom output waits.
        """
        self._socket.sendall(f"GET {LARGE}\r\n".encode() * times)
        wait_until(lambda: self.waiting_bytes >= (times - _ON_ITS_WAY) * LARGE_BYTES, "output waits")
        return self

    def watch_everything(self) -> Self:
        """MONITOR."""
        self.ask("MONITOR")
        return self


def make_large(url: str) -> None:
    """The value that slow readers ask for."""
    with valkey.Valkey.from_url(url) as client:
        client.set(LARGE, b"x" * LARGE_BYTES)


@contextlib.contextmanager
def slow_reader(url: str, name: str = "report", *, times: int = TIMES) -> Iterator[RawClient]:
    """Get a client that has asked for 1 MiB so many times, and reads nothing."""
    make_large(url)
    with RawClient(url, name) as client:
        yield client.stop_reading(times)
