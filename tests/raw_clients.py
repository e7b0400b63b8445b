"""Clients of a server that are plain sockets, so that nothing is sent which a test did not send."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Self
from urllib.parse import urlsplit

import valkey
import valkey.exceptions

#: Takes a server about half a second.
EXPENSIVE = (b"EVAL", b"local x = 0 for i = 1, 90000000 do x = x + i end return x", b"0")
_CHEAP = (b"EVAL", b"return 1", b"0")
_PATIENCE_S = 20.0


class RawClient:
    """
    One connection.

    Attributes:
        id: Its number on the server.
        address: Where it comes from, as CLIENT LIST has it.
    """

    def __init__(self, url: str, name: str = "") -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), _PATIENCE_S)
        host, port = self._socket.getsockname()
        self.address = f"{host}:{port}"
        self.id = int(self.ask(b"CLIENT", b"ID")[1:])
        if name:
            self.ask(b"CLIENT", b"SETNAME", name.encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, *words: bytes) -> bytes:
        """The first line of an answer; empty if the server has closed the connection."""
        answer = b""
        with contextlib.suppress(ConnectionError):
            self.send(*words)
            while not answer.endswith(b"\r\n") and (more := self._socket.recv(4096)):
                answer += more
        return answer.strip()

    def send(self, *words: bytes) -> None:
        """Send a command, and leave what is answered unread."""
        packed = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self._socket.sendall(b"*%d\r\n%s" % (len(words), packed))

    def is_expensive(self, times: int = 1, *, cheaply: bool = False) -> Self:
        """Run an expensive command; *cheaply*: one of the same name that is not."""
        for _ in range(times):
            self.ask(*(_CHEAP if cheaply else EXPENSIVE))
        return self

    def leave(self) -> None:
        """Hang up, also for whoever shares the connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def connected(client: valkey.Valkey) -> dict[int, dict[str, str]]:
    """Who is connected, by number, as the client library reads CLIENT LIST."""
    return {int(each["id"]): each for each in client.client_list()}


#: Makes a set of which freeing takes a server some tenths of a second.
_LARGE = """
for i = 1, 1500000, 4000 do
  local some = {}
  for j = 0, 3999 do some[j + 1] = 'member:' .. (i + j) end
  redis.call('SADD', KEYS[1], unpack(some))
end
"""


def delete_large(client: valkey.Valkey) -> float:
    """Make a large key and delete it; the seconds that deleting took."""
    client.eval(_LARGE, 1, "large")
    client.slowlog_reset()  # making it is not what is slow here
    began_s = time.perf_counter()
    client.delete("large")
    return time.perf_counter() - began_s


#: Never ends; with ``1`` it has written something before.
ENDLESS = b"if ARGV[1] == '1' then redis.call('SET', KEYS[1], 'x') end while true do end"
LIBRARY = (
    f"#!lua name=medic8test\nserver.register_function('endless', function(KEYS, ARGV) {ENDLESS.decode()} end)"
)


def is_busy(client: valkey.Valkey) -> bool:
    """Whether a script keeps the server from answering."""
    try:
        client.ping()
    except valkey.exceptions.ResponseError:
        return True
    return False


def wait_until_busy(client: valkey.Valkey) -> None:
    """Return when a script that was begun keeps the server from answering."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_busy(client):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def end_script(client: valkey.Valkey) -> bool:
    """Have the server end a script, and return when it answers; whether one ran."""
    try:
        client.execute_command("SCRIPT", "KILL")
    except valkey.exceptions.ResponseError:
        return False
    deadline_s = time.monotonic() + _PATIENCE_S
    while is_busy(client):
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    return True
