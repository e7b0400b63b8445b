"""Services that answer wrongly, too slowly, now and then, or not at all."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable

from benchmarks.accuracy.variant import (
    Answer,
    Cause,
    FailOverSite,
    RequestSite,
    Site,
    Stage,
    Truth,
    Variant,
)
from benchmarks.accuracy.variants.opened_beside_means import HTTP, get, wait_until

BACKEND = (
    HTTP
    + """
class Answers(Plain):
    def do_GET(self): self.say(200, "orders are taken")
serve(Answers)
"""
)

#: A gateway whose file says to whom it passes requests on; it reads the file again at SIGHUP.
GATEWAY = (
    HTTP
    + """
import re, signal, urllib.request
def read(*_):
    global backend
    backend = re.search(r"server (\\S+);", open(sys.argv[1]).read())[1]
read()
signal.signal(signal.SIGHUP, read)
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
class Answers(Plain):
    def do_GET(self):
        try:
            with direct.open("http://" + backend + self.path, timeout=3) as answer:
                self.say(200, answer.read().decode())
        except OSError:
            self.say(502, "<html>502 Bad Gateway</html>")
serve(Answers)
"""
)

#: So many workers, and a report that keeps a worker for an hour.
POOL = """
import queue, socket, sys, threading, time

waiting = queue.Queue()
def work():
    while True:
        connection = waiting.get()
        try:
            with connection:
                connection.settimeout(5)
                asked = connection.recv(4000)
                if asked.startswith(b"GET /report"): time.sleep(3600)
                connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nwell")
        except OSError: pass
for _ in range(int(sys.argv[1])): threading.Thread(target=work, daemon=True).start()
server = socket.create_server(("127.0.0.1", 0), backlog=64)
print(server.getsockname()[1], flush=True)
while True: waiting.put(server.accept()[0])
"""

SINGLE = (
    HTTP
    + """
class Answers(Plain):
    protocol_version = "HTTP/1.0"
    def do_GET(self): self.say(200, "well")
class One(http.server.HTTPServer):
    request_queue_size = int(sys.argv[1])
server = One(("127.0.0.1", 0), Answers)
print(server.server_port, flush=True)
server.serve_forever()
"""
)

#: What goes wrong (argument 1) goes wrong while there is the file of argument 2, as much as argument 3 says.
SHOP = (
    HTTP
    + """
import threading
how, flag, much, asked, one = sys.argv[1], sys.argv[2], int(sys.argv[3]), 0, threading.Lock()
class Answers(Plain):
    def do_GET(self):
        global asked
        with one: asked += 1; number = asked
        if not os.path.exists(flag): self.say(200, "orders are taken")
        elif how == "one_worker":
            if number % much: self.say(200, "orders are taken")
            else: self.say(500, "no such table")
        elif how == "no_such_host": self.say(200, "<html><title>Welcome!</title>It works.</html>")
        elif how == "thin_body": self.trickle("orders are taken, " * 400, much / 1000)
        elif how == "circle":
            at = int(self.path.rpartition("-")[2]) if "-" in self.path else 0
            self.say(302, "", Location="/step-%d" % (at % much + 1))
        elif how == "follows_log": self.trickle("GET /orders 200 OK " * (much * 13), 3600, 36000)
    def trickle(self, body, seconds, parts=50):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        size = len(body) // parts if how == "thin_body" else len(body)
        for at in range(parts):
            part = body[at * size:(at + 1) * size] if how == "thin_body" else body
            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(part), part.encode()))
            time.sleep(seconds / parts)
        self.wfile.write(b"0\\r\\n\\r\\n")
serve(Answers)
"""
)

RELOAD = "import os, signal, sys; os.kill(int(sys.argv[1]), signal.SIGHUP)"


def _said_url(stage: Stage, path: str = "/health") -> str:
    stage.notes.update(port=stage.said, url=f"http://127.0.0.1:{stage.said}{path}")
    return stage.notes["url"]


def open_gateway(stage: Stage) -> str:
    """Start a gateway with a backend and another one that stands by."""
    first = stage.keep_going(BACKEND)
    stage.notes.update(first=stage.said, pid=str(first.pid))
    stage.keep_going(BACKEND)
    stage.notes["second"] = stage.said
    file = stage.folder / "upstream.conf"
    file.write_text(f"upstream orders {{\n  server 127.0.0.1:{stage.notes['first']};\n}}\n")
    gateway = stage.keep_going(GATEWAY, str(file))
    stage.notes["gateway"] = str(gateway.pid)
    return _said_url(stage)


def end_backend(stage: Stage) -> str:
    """The backend ends; the gateway does not."""
    os.kill(int(stage.notes["pid"]), signal.SIGKILL)
    wait_until(lambda: is_bad_gateway(stage))
    return ""


def is_bad_gateway(stage: Stage) -> bool:
    """Whether the gateway reaches nobody."""
    return get(stage.notes["url"])[0] == 502


def stands_by(stage: Stage) -> Site:
    """A site with a second backend, and a file that says which of them serves."""
    second = f"127.0.0.1:{stage.notes['second']}"
    return Site(
        request=RequestSite(body="orders"),
        fail_over=FailOverSite(
            standby=f"http://{second}/health",
            file=str(stage.folder / "upstream.conf"),
            active=f"127.0.0.1:{stage.notes['first']}",
            spare=second,
            reload=(sys.executable, "-c", RELOAD, stage.notes["gateway"]),
        ),
    )


def open_pool(stage: Stage) -> str:
    """Start a service with a few workers."""
    stage.keep_going(POOL, str(stage.strength))
    return _said_url(stage)


def want_reports(stage: Stage) -> str:
    """As many reports are wanted as there are workers."""
    for _ in range(stage.strength):
        wants = stage.cleanup.enter_context(
            socket.create_connection(("127.0.0.1", int(stage.notes["port"])), 5)
        )
        wants.sendall(b"GET /report HTTP/1.1\r\n\r\n")
    wait_until(lambda: is_silent(stage))
    return ""


def is_silent(stage: Stage) -> bool:
    """Whether a request is taken and not answered."""
    code, text, _ = get(stage.notes["url"], timeout_s=3)
    return code == 0 and "timed out" in text


def open_single(stage: Stage) -> str:
    """Start a service that has a short queue."""
    single = stage.keep_going(SINGLE, str(stage.strength))
    stage.notes["pid"] = str(single.pid)
    return _said_url(stage)


def freeze(stage: Stage) -> str:
    """Its machine stands still, and the queue is full soon."""
    port = int(stage.notes["port"])
    os.kill(int(stage.notes["pid"]), signal.SIGSTOP)
    for _ in range(stage.strength + 4):
        waits = stage.cleanup.enter_context(socket.socket())
        waits.setblocking(False)
        waits.connect_ex(("127.0.0.1", port))
    wait_until(lambda: is_dropped(stage))
    return ""


def is_dropped(stage: Stage) -> bool:
    """Whether there is no answer to an attempt to connect."""
    try:
        socket.create_connection(("127.0.0.1", int(stage.notes["port"])), 2).close()
    except TimeoutError:
        return True
    except OSError:
        pass
    return False


def _shop(how: str) -> Callable[[Stage], str]:
    def prepare(stage: Stage) -> str:
        stage.keep_going(SHOP, how, str(stage.folder / "flag"), str(stage.strength))
        return _said_url(stage)

    return prepare


def go_wrong(stage: Stage) -> str:
    """From now on it goes wrong."""
    (stage.folder / "flag").touch()
    return ""


def fails_at_times(stage: Stage) -> bool:
    """Whether some requests fail and others do not."""
    return {get(stage.notes["url"])[0] for _ in range(10)} == {200, 500}


def is_default_page(stage: Stage) -> bool:
    """Whether it answers with a page of nobody's."""
    code, text, _ = get(stage.notes["url"])
    return code == 200 and "orders" not in text


def trickles(stage: Stage) -> bool:
    """Whether all of the body comes, in so long."""
    code, text, took = get(stage.notes["url"])
    return code == 200 and "orders" in text and took >= stage.strength / 1000


def goes_round(stage: Stage) -> bool:
    """Whether following the redirects ends nowhere."""
    return get(stage.notes["url"])[0] == 302 and get(stage.notes["url"], follows=True)[0] != 200


def goes_on(stage: Stage) -> bool:
    """Whether more comes for as long as one reads."""
    if not (stage.folder / "flag").exists():
        return False
    with socket.create_connection(("127.0.0.1", int(stage.notes["port"])), 4) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        begun, total = time.monotonic(), 0
        while time.monotonic() < begun + 3:
            part = connection.recv(65536)
            if not part:
                return False
            total += len(part)
    return total > 2000


def find_no_name(stage: Stage) -> str:
    """The name was taken out of the zone."""
    stage.notes["name"] = f"orders.{stage.word}.invalid"
    return f"http://{stage.notes['name']}:{stage.strength}/health"


def has_no_address(stage: Stage) -> bool:
    """Whether the name resolves to nothing."""
    if "name" not in stage.notes:
        return False
    try:
        socket.getaddrinfo(stage.notes["name"], stage.strength)
    except socket.gaierror:
        return True
    return False


def _wrong(cause: Cause, *also: Cause) -> Callable[[Stage], Truth]:
    return lambda _: Truth(Answer.NETWORK, cause, also_cause=also)


VARIANTS = (
    Variant(
        "gateway_left_alone",
        "endpoint",
        (1, 1),
        lambda _: Truth(Answer.NETWORK, Cause.WRONG_STATUS, also_cause=(Cause.REFUSED,), healable=True),
        end_backend,
        is_bad_gateway,
        site=stands_by,
        prepare=open_gateway,
    ),
    Variant(
        "reports_take_all_workers",
        "endpoint",
        (2, 12),
        lambda _: Truth(Answer.NETWORK, Cause.SILENT, also_answer=(Answer.SLOW_OPERATIONS,)),
        want_reports,
        is_silent,
        prepare=open_pool,
    ),
    Variant(
        "machine_stands_still",
        "endpoint",
        (1, 6),
        _wrong(Cause.DROPPED, Cause.ACCEPT_QUEUE),
        freeze,
        is_dropped,
        site=lambda _: Site(timeout_s=3.0),
        prepare=open_single,
    ),
    Variant(
        "one_worker_not_migrated",
        "endpoint",
        (2, 4),
        _wrong(Cause.FLAPPING, Cause.WRONG_STATUS),
        go_wrong,
        fails_at_times,
        site=lambda _: Site(request=RequestSite(count=12)),
        prepare=_shop("one_worker"),
    ),
    Variant(
        "host_fell_to_the_default",
        "endpoint",
        (1, 1),
        _wrong(Cause.WRONG_BODY),
        go_wrong,
        is_default_page,
        site=lambda _: Site(request=RequestSite(body="orders")),
        prepare=_shop("no_such_host"),
    ),
    Variant(
        "catalogue_trickles",
        "endpoint",
        (1500, 3500),
        lambda _: Truth(Answer.SLOW_OPERATIONS, Cause.SLOW_BODY),
        go_wrong,
        trickles,
        site=lambda _: Site(request=RequestSite(count=3)),
        prepare=_shop("thin_body"),
    ),
    Variant(
        "login_sends_back",
        "endpoint",
        (2, 5),
        _wrong(Cause.REDIRECT_LOOP, Cause.REDIRECTS),
        go_wrong,
        goes_round,
        site=lambda _: Site(request=RequestSite(follows=True)),
        prepare=_shop("circle"),
    ),
    Variant(
        "health_follows_the_log",
        "endpoint",
        (1, 20),
        lambda _: Truth(
            Answer.NETWORK,
            Cause.ENDLESS,
            also_answer=(Answer.SLOW_OPERATIONS,),
            also_cause=(Cause.SLOW_BODY,),
        ),
        go_wrong,
        goes_on,
        site=lambda _: Site(request=RequestSite(count=2)),
        prepare=_shop("follows_log"),
    ),
    Variant(
        "name_out_of_the_zone",
        "endpoint",
        (8000, 8999),
        _wrong(Cause.NAME_NOT_FOUND, Cause.NAME_SERVER),
        find_no_name,
        has_no_address,
    ),
)
