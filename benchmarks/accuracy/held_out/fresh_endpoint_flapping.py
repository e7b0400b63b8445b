"""Services of which some requests fail, or all of them behind a proxy."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess

from benchmarks.accuracy.held_out.fresh_endpoint_answers import (
    ask,
    backend,
    network,
    sees,
    sees_status,
    service,
    turn,
    well,
)
from benchmarks.accuracy.held_out.fresh_process_memory import tool, wait_for
from benchmarks.accuracy.variant import Cause, FailOverSite, RequestSite, Site, Stage, Variant


def free_port() -> int:
    """A port that nobody had a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def haproxy(stage: Stage, servers: str) -> str:
    """A real proxy in front of the servers; its address."""
    port, control = free_port(), stage.folder / "h"
    file = stage.folder / "haproxy.cfg"
    file.write_text(
        f"global\n  stats socket {control} mode 600 level admin\n  maxconn 100\n"
        "defaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  timeout server 5s\n"
        f"frontend front\n  bind 127.0.0.1:{port}\n  default_backend {stage.word}\n"
        f"backend {stage.word}\n  balance roundrobin\n{servers}"
    )
    proxy = subprocess.Popen(
        [tool("haproxy"), "-db", "-q", "-f", file], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    stage.cleanup.callback(proxy.wait)
    stage.cleanup.callback(proxy.kill)
    stage.notes.update(port=str(port), path="/health")
    if not wait_for(sees_status(stage, 200)):
        raise OSError(f"haproxy does not serve at port {port}")
    return f"http://127.0.0.1:{port}/health"


def _checked_backend(stage: Stage) -> str:
    only = backend(stage, "blue")
    return haproxy(stage, f"  option httpchk GET /health\n  server only {only} check inter 200 fall 2\n")


def _backend_dies(stage: Stage) -> str:
    os.kill(int(stage.notes["blue_pid"]), 15)
    wait_for(sees_status(stage, 503))
    return ""


_EACH_NTH = """
import itertools
counter, every = itertools.count(1), int(sys.argv[2])
def answer(ask):
    if is_broken() and not next(counter) % every:
        return say(ask, 502, b"upstream sent no answer")
    well(ask)
"""


def _each_nth(stage: Stage) -> str:
    return service(stage, _EACH_NTH, str(stage.strength))


_WORKERS = """
bad = int(sys.argv[2])
def answer(ask):
    if is_broken() and ask.server.number < bad:
        return say(ask, 500, b"out of memory")
    well(ask)
class Shared(Server):
    allow_reuse_port = True
    def __init__(self, port, number):
        self.number = number
        self.address_family = socket.AF_INET
        super().__init__(("127.0.0.1", port), Answers, bind_and_activate=False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.server_bind()
        self.server_activate()
first = Shared(0, 0)
for number in range(1, 4):
    other = Shared(first.server_port, number)
    threading.Thread(target=other.serve_forever, daemon=True).start()
print(first.server_port, flush=True)
first.serve_forever()
"""


def _workers(stage: Stage) -> str:
    """Four workers share the port; the strength is how many of them break."""
    return service(stage, _WORKERS, str(stage.strength))


def _results(stage: Stage, count: int = 24) -> list[bool]:
    found = []
    for _ in range(count):
        try:
            found.append(ask(stage, timeout_s=1)[0] == 200)
        except (OSError, http.client.HTTPException):
            found.append(False)
    return found


def _some_fail(stage: Stage) -> bool:
    return len(set(_results(stage))) == 2


def _two_servers(stage: Stage) -> str:
    blue, green = backend(stage, "blue"), backend(stage, "green")
    return haproxy(stage, f"  server blue {blue}\n  server green {green}\n")


def _without_blue(stage: Stage) -> Site:
    return Site(
        request=RequestSite(count=8),
        fail_over=FailOverSite(
            standby=f"http://{stage.notes['green']}/health",
            haproxy=str(stage.folder / "h"),
            backend=stage.word,
            server="blue",
        ),
    )


_COMES_AND_GOES = """
up_s, down_s = int(sys.argv[2]) / 10, int(sys.argv[2]) / 10
answer = well
def serve():
    port = 0
    while True:
        server = Server(("127.0.0.1", port), Answers)
        if not port:
            port = server.server_port
            print(port, flush=True)
        runs = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        runs.start()
        while not is_broken():
            time.sleep(0.05)
        time.sleep(up_s)
        server.shutdown()
        runs.join()
        server.server_close()
        time.sleep(down_s)
"""


def _comes_and_goes(stage: Stage) -> bool:
    """It is looked at for two of its turns and more."""

    def answers() -> bool:
        try:
            return ask(stage, timeout_s=1)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    return wait_for(lambda: not answers(), 4) and wait_for(answers, 4)


_VERSION = """
def answer(ask):
    say(ask, 200, b'{"status": "up", "version": "%s"}' % sys.argv[2].encode())
class Shared(Server):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()
Server = Shared
real = serve
def serve():
    real(int(sys.argv[3]))
"""


def _old_version(stage: Stage) -> str:
    return service(stage, _VERSION, "old", "0")


def _hand_over(stage: Stage) -> str:
    """The new one listens beside the old one, which then goes."""
    old = int(stage.notes["pid"])
    service(stage, _VERSION, "new", stage.notes["port"])
    os.kill(old, 15)
    wait_for(lambda: _is_the_new_one(stage))
    return ""


def _is_the_new_one(stage: Stage) -> bool:
    try:
        return b"new" in ask(stage)[2]
    except (OSError, http.client.HTTPException):
        return False


def _many(count: int) -> Site:
    return Site(timeout_s=2.0, request=RequestSite(count=count))


VARIANTS = (
    Variant(
        "fresh_no_server_is_available",
        "endpoint",
        (1, 1),
        network(Cause.WRONG_STATUS),
        _backend_dies,
        sees(lambda said: said[0] == 503),
        prepare=_checked_backend,
    ),
    Variant(
        "fresh_each_nth_is_a_502",
        "endpoint",
        (2, 3),
        network(Cause.FLAPPING, Cause.WRONG_STATUS),
        turn,
        _some_fail,
        site=lambda _: _many(12),
        prepare=_each_nth,
    ),
    Variant(
        "fresh_workers_of_one_port",
        "endpoint",
        (1, 3),
        network(Cause.FLAPPING, Cause.WRONG_STATUS),
        turn,
        _some_fail,
        site=lambda _: _many(16),
        prepare=_workers,
    ),
    Variant(
        "fresh_one_of_two_behind_a_proxy",
        "endpoint",
        (1, 1),
        network(Cause.FLAPPING, Cause.WRONG_STATUS, healable=True),
        turn,
        _some_fail,
        site=_without_blue,
        prepare=_two_servers,
    ),
    Variant(
        "fresh_up_and_down_again",
        "endpoint",
        (3, 7),
        network(Cause.FLAPPING, Cause.WAY_FLAPS, Cause.REFUSED),
        turn,
        _comes_and_goes,
        site=lambda _: _many(20),
        prepare=lambda stage: service(stage, _COMES_AND_GOES, str(stage.strength)),
    ),
    Variant(
        "fresh_handed_over",
        "endpoint",
        (1, 1),
        well,
        _hand_over,
        _is_the_new_one,
        site=lambda _: _many(12),
        is_healthy=True,
        prepare=_old_version,
    ),
)
