"""A service that Apprise sends to, on the loopback interface: it takes, refuses, hangs, or is away."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Part of the address, as services have it.
TOKEN = "Zw7-hidden-91"  # noqa: S105 - nobody else's


class Receiver:
    """
    What came, and what is answered.

    Attributes:
        port: Where it listens; the same when it is back.
        bodies: What was taken, in order.
        kinds: The content type of each.
        status: What is answered from now on.
        hangs: Whether an answer never ends: a line of it every now and then.
        tries: How many requests came, whatever was answered.
    """

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as place:
            self.port = int(place.getsockname()[1])
        self.bodies: list[str] = []
        self.kinds: list[str] = []
        self.status = 200
        self.hangs = False
        self.tries = 0
        self.over = threading.Event()

    def url(self, schema: str = "json") -> str:
        return f"{schema}://me:{TOKEN}@127.0.0.1:{self.port}/hook/{TOKEN}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The bodies of those that came as JSON."""
        return [json.loads(each) for each in self.bodies]

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.messages]

    @contextmanager
    def there(self) -> Iterator[None]:
        """Listen for as long as the block goes on."""
        server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield
        finally:
            self.over.set()
            server.shutdown()
            thread.join()
            server.server_close()
            self.over.clear()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.tries += 1
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if receiver.hangs:
                self._hang()
                return
            if receiver.status == 200:
                receiver.bodies.append(body)
                receiver.kinds.append(self.headers["Content-Type"])
            self.send_response(receiver.status)
            self.end_headers()

        def _hang(self) -> None:
            # Slower than any limit on the time between two parts of an answer would notice.
            self.send_response(200)
            self.flush_headers()
            try:
                while not receiver.over.wait(0.1):
                    self.wfile.write(b"X-Still: here\r\n")
                    self.wfile.flush()
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def until(is_so: Any, patience_s: float = 30.0) -> None:
    """Wait for it."""
    end_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.02)
