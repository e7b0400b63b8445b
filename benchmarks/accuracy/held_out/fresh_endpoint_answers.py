"""Services that answer, and not with what they should, and some whose answers only look odd."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, FailOverSite, RequestSite, Site, Stage, Truth, Variant

#: Begins each service; what follows it defines ``answer(ask)`` and ends with ``serve()``.
SERVICE = """
import http.server, os, random, socket, sys, threading, time
FLAG = sys.argv[1]
def is_broken():
    return os.path.exists(FLAG)
def say(ask, status, body=b"", **headers):
    ask.send_response(status)
    for name, value in headers.items():
        ask.send_header(name.replace("_", "-"), value)
    ask.send_header("Content-Length", str(len(body)))
    ask.end_headers()
    if ask.command != "HEAD":
        ask.wfile.write(body)
def well(ask):
    say(ask, 200, b'{"status": "up", "version": "4.2"}', Content_Type="application/json")
class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        answer(self)
    do_HEAD = do_GET
    def log_message(self, *_):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 64
    def handle_error(self, *_):
        pass
def serve(port=0):
    server = Server(("127.0.0.1", port), Answers)
    print(server.server_port, flush=True)
    server.serve_forever()
"""

Said = tuple[int, dict[str, str], bytes]


def flag(stage: Stage) -> Path:
    """A file whose presence breaks the service."""
    return stage.folder / f"{stage.word}.flag"


def service(stage: Stage, program: str, *words: str, path: str = "/health") -> str:
    """Start a service that is well; its address."""
    process = stage.keep_going(f"{SERVICE}{program}\nserve()\n", str(flag(stage)), *words)
    stage.notes.update(pid=str(process.pid), port=stage.said, path=path)
    return f"http://127.0.0.1:{stage.said}{path}"


def turn(stage: Stage) -> str:
    """The service breaks, where it was."""
    flag(stage).touch()
    return ""


def ask(stage: Stage, path: str = "", *, method: str = "GET", timeout_s: float = 4.0) -> Said:
    """
    One request over a connection of its own; status, headers and body.

    Raises:
        OSError: There is no connection, or it breaks.
        HTTPException: What answers does not speak HTTP, or breaks off.
    """
    way = http.client.HTTPConnection("127.0.0.1", int(stage.notes["port"]), timeout=timeout_s)
    try:
        way.request(method, path or stage.notes["path"])
        answer = way.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        way.close()


def sees(claim: Callable[[Said], bool], method: str = "GET") -> Callable[[Stage], bool]:
    """Whether the service answers, and what it says meets the claim."""

    def look(stage: Stage) -> bool:
        try:
            return claim(ask(stage, method=method))
        except (OSError, http.client.HTTPException):
            return False

    return look


def network(cause: Cause, *also: Cause, healable: bool = False) -> Callable[[Stage], Truth]:
    """It cannot be reached or answers wrongly, for this reason."""
    return lambda _: Truth(Answer.NETWORK, cause, also_cause=also, healable=healable)


def well(_: Stage) -> Truth:
    """Nothing is wrong."""
    return Truth(Answer.NONE)


_MAINTENANCE = """
PAGE = b"<html><body><h1>We will be back soon</h1></body></html>"
def answer(ask):
    if is_broken():
        return say(ask, 503, PAGE, Retry_After="3600", Content_Type="text/html")
    well(ask)
"""

_REFUSES = """
status = int(sys.argv[2])
def answer(ask):
    if is_broken():
        return say(ask, status, b'{"error": "token expired"}', WWW_Authenticate="Bearer")
    well(ask)
"""

_LOST_ROUTE = """
def answer(ask):
    if is_broken() and ask.path != "/":
        return say(ask, 404, b"no route matches " + ask.path.encode())
    well(ask)
"""

_NO_HEAD = """
def answer(ask):
    if is_broken() and ask.command == "HEAD":
        return say(ask, 405, Allow="GET")
    well(ask)
"""

_DEGRADED = """
def answer(ask):
    if is_broken():
        return say(ask, 200, b'{"status": "down", "error": "orders database: connection refused"}')
    well(ask)
"""

_OTHER_HOST = """
PAGE = b"<html><title>Welcome to nginx!</title><body>If you see this page ...</body></html>"
def answer(ask):
    if is_broken():
        return say(ask, 200, PAGE, Content_Type="text/html", Server="nginx")
    well(ask)
"""

_LOGIN = """
def answer(ask):
    if is_broken():
        return say(ask, 302, Location="https://login.%s.invalid/?back=%%2Fhealth" % sys.argv[2])
    well(ask)
"""

_TO_TLS = """
def answer(ask):
    if is_broken():
        return say(ask, 308, Location="https://127.0.0.1:8443" + ask.path)
    well(ask)
"""

_CIRCLE = """
count = int(sys.argv[2])
def answer(ask):
    if is_broken():
        at = int(ask.path[5:]) if ask.path.startswith("/hop/") else 0
        return say(ask, 302, Location="/hop/%d" % (at % count + 1))
    well(ask)
"""


def _circle_goes_on(stage: Stage) -> bool:
    path, seen = stage.notes["path"], list[str]()
    while path not in seen and len(seen) < 20:
        seen.append(path)
        status, headers, _ = ask(stage, path)
        if status != 302:
            return False
        path = headers["location"]
    return path in seen


_PROXY = """
import http.client, signal
upstream = ""
def read(*_):
    global upstream
    with open(sys.argv[2]) as file:
        upstream = file.read().split()[1]
read()
signal.signal(signal.SIGHUP, read)
def answer(ask):
    try:
        way = http.client.HTTPConnection(upstream, timeout=2)
        way.request("GET", ask.path)
        told = way.getresponse()
        say(ask, told.status, told.read())
    except OSError:
        say(ask, 502, b"bad gateway")
"""

_BACKEND = """
def answer(ask):
    if is_broken() and sys.argv[2] == "blue":
        return say(ask, 500, b"Traceback (most recent call last): ...")
    well(ask)
"""


def backend(stage: Stage, colour: str) -> str:
    """One of two services behind a proxy; where it listens."""
    service(stage, _BACKEND, colour)
    stage.notes[colour] = f"127.0.0.1:{stage.said}"
    stage.notes[f"{colour}_pid"] = stage.notes["pid"]
    return stage.notes[colour]


def _blue_and_green(stage: Stage) -> str:
    blue = backend(stage, "blue")
    backend(stage, "green")
    (stage.folder / "upstream").write_text(f"upstream {blue}\n")
    return service(stage, _PROXY, str(stage.folder / "upstream"))


def _to_green(stage: Stage) -> Site:
    return Site(
        fail_over=FailOverSite(
            standby=f"http://{stage.notes['green']}/health",
            file=str(stage.folder / "upstream"),
            active=stage.notes["blue"],
            spare=stage.notes["green"],
            reload=("kill", "-HUP", stage.notes["pid"]),
        )
    )


def sees_status(stage: Stage, status: int) -> Callable[[], bool]:
    """Whether the service answers with this status now."""
    return lambda: sees(lambda said: said[0] == status)(stage)


_ASKS_WHO = """
def answer(ask):
    say(ask, 401, b"who are you?", WWW_Authenticate='Basic realm="shop"')
"""

_SLASH = """
def answer(ask):
    if ask.path == "/health":
        return say(ask, 301, Location="/health/")
    well(ask)
"""

_OLD_STYLE = """
Answers.protocol_version = "HTTP/1.0"
def answer(ask):
    ask.send_response(200)
    ask.send_header("Content-Type", "text/plain")
    ask.end_headers()
    for _ in range(int(sys.argv[2])):
        ask.wfile.write(b"up since yesterday\\n")
"""


def expects_up(_: Stage) -> Site:
    """A site that looks at what the answer says."""
    return Site(request=RequestSite(body='"status": "up"'))


def _broken(
    name: str,
    program: str,
    truth: Callable[[Stage], Truth],
    is_there: Callable[[Stage], bool],
    *,
    strength: tuple[int, int] = (1, 1),
    site: Callable[[Stage], Site] = lambda _: Site(),
) -> Variant:
    """A service that was well; it is told the strength, or the word where there is none."""

    def prepare(stage: Stage) -> str:
        return service(stage, program, stage.word if strength == (1, 1) else str(stage.strength))

    return Variant(name, "endpoint", strength, truth, turn, is_there, site=site, prepare=prepare)


_WRONG_STATUS, _WRONG_BODY = network(Cause.WRONG_STATUS), network(Cause.WRONG_BODY)

VARIANTS = (
    _broken("fresh_maintenance_page", _MAINTENANCE, _WRONG_STATUS, sees(lambda said: said[0] == 503)),
    _broken(
        "fresh_token_expired",
        _REFUSES,
        _WRONG_STATUS,
        sees(lambda said: said[0] in {401, 402, 403}),
        strength=(401, 403),
    ),
    _broken("fresh_route_lost", _LOST_ROUTE, _WRONG_STATUS, sees(lambda said: said[0] == 404)),
    _broken(
        "fresh_no_more_head",
        _NO_HEAD,
        _WRONG_STATUS,
        sees(lambda said: said[0] == 405, "HEAD"),
        site=lambda _: Site(request=RequestSite(method="HEAD")),
    ),
    _broken(
        "fresh_down_with_200",
        _DEGRADED,
        _WRONG_BODY,
        sees(lambda said: b"down" in said[2]),
        site=expects_up,
    ),
    _broken(
        "fresh_page_of_the_default_host",
        _OTHER_HOST,
        _WRONG_BODY,
        sees(lambda said: b"nginx" in said[2]),
        site=expects_up,
    ),
    _broken("fresh_sends_to_the_login", _LOGIN, network(Cause.REDIRECTS), sees(lambda said: said[0] == 302)),
    _broken("fresh_sends_to_tls", _TO_TLS, network(Cause.REDIRECTS), sees(lambda said: said[0] == 308)),
    _broken(
        "fresh_sends_round_and_round",
        _CIRCLE,
        network(Cause.REDIRECT_LOOP),
        _circle_goes_on,
        strength=(2, 5),
        site=lambda _: Site(request=RequestSite(follows=True)),
    ),
    Variant(
        "fresh_blue_fails_green_waits",
        "endpoint",
        (1, 1),
        network(Cause.WRONG_STATUS, healable=True),
        turn,
        sees(lambda said: said[0] == 500),
        site=_to_green,
        prepare=_blue_and_green,
    ),
    Variant(
        "fresh_asks_who_you_are",
        "endpoint",
        (1, 1),
        well,
        partial(service, program=_ASKS_WHO),
        sees(lambda said: said[0] == 401),
        site=lambda _: Site(request=RequestSite(status=(200, 401))),
        is_healthy=True,
    ),
    Variant(
        "fresh_slash_at_the_end",
        "endpoint",
        (1, 1),
        well,
        partial(service, program=_SLASH),
        sees(lambda said: said[0] == 301),
        site=lambda _: Site(request=RequestSite(follows=True, body='"status": "up"')),
        is_healthy=True,
    ),
    Variant(
        "fresh_old_style_answer",
        "endpoint",
        (1, 400),
        well,
        lambda stage: service(stage, _OLD_STYLE, str(stage.strength)),
        sees(lambda said: said[0] == 200 and "content-length" not in said[1]),
        is_healthy=True,
    ),
)
