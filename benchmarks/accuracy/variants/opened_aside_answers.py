"""Services that answer wrongly: another status or body, elsewhere, in a circle, cut short."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import told
from benchmarks.accuracy.variants.opened_aside_service import (
    answers,
    asked,
    changes,
    fetch,
    first_bytes,
    serve,
    some_answer,
)

_OK = '"status": "ok"'

_NO_DATABASE = """
answer(#, '{"error": "upstream database refused the connection"}', (("Retry-After", "30"),))
"""
_MOVED_CREDENTIALS = (
    """answer(401, '{"error": "token has been revoked"}', (("WWW-Authenticate", "Bearer"),))"""
)
_LOST_ROUTE = "answer(404, '<html>nginx: no such page</html>')"
_FULL = """answer(507, '{"error": "cannot write: no space left on device"}')"""
_SAYS_DOWN = """answer(200, '{"status": "degraded", "queue": "not consumed since 02:00"}')"""
_EMPTY = "answer(200, '')"
_DEFAULT_PAGE = "answer(200, '<html><h1>Welcome! The web server is installed.</h1></html>')"
_LOGIN = "answer(302, '', (('Location', 'https://login.example.invalid/?back=health'),))"
_CIRCLE = """
target = "/health" if self.path.startswith("/health/") else "/health/"
answer(301, "", (("Location", target),))
"""
_LONG_CIRCLE = """
step = int(self.path.rpartition("=")[2]) + 1 if "step=" in self.path else 1
answer(307, "", (("Location", f"/health?step={step % 4}"),))
"""
_CRASHES = "self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))"
_HANGS_UP = "self.connection.shutdown(socket.SHUT_RDWR)"
_CUT = """
self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4096\\r\\n\\r\\n{" + b" " * 900)
self.connection.shutdown(socket.SHUT_RDWR)
"""
_BANNER = "self.wfile.write(b'220 mail.example.invalid ESMTP ready\\r\\n')"
_NEVER_ENDS = """
self.send_response(200); self.send_header("Transfer-Encoding", "chunked"); self.end_headers()
while True:
    self.wfile.write(b"40\\r\\n" + b"." * 64 + b"\\r\\n"); time.sleep(0.02 * #)
"""
_ONE_OF_THREE = """
if random.random() < 0.#:
    answer(502, "bad gateway")
else:
    answer()
"""
_LATE_CLOCK = """
import email.utils
date = email.utils.formatdate(time.time() - 60 * #, usegmt=True)
body = '{"error": "RequestTimeTooSkewed: the clocks differ too much"}'
told = f"HTTP/1.1 403 Forbidden\\r\\nDate: {date}\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n{body}"
self.wfile.write(told.encode())
"""


def _cut_short(stage: Stage) -> bool:
    return fetch(stage)[0] == "IncompleteRead"


def _goes_on(stage: Stage) -> bool:
    """Whether it still sends after three seconds."""
    url, then = urlsplit(stage.notes["url"]), time.monotonic()
    with socket.create_connection((url.hostname, url.port), timeout=3) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
        while time.monotonic() - then < 3:
            if not client.recv(65536):
                return False
    return True


_WRONG = told(Answer.NETWORK, Cause.WRONG_STATUS)
_BODY = told(Answer.NETWORK, Cause.WRONG_BODY)
_CLOSED = told(Answer.NETWORK, Cause.CLOSED, also_cause=(Cause.WAY_CUT,))
_CIRCLES = told(Answer.NETWORK, Cause.REDIRECT_LOOP, also_cause=(Cause.REDIRECTS,))

VARIANTS = (
    Variant(
        "database_behind_refuses",
        "endpoint",
        (500, 504),
        _WRONG,
        changes(_NO_DATABASE),
        lambda stage: answers(str(stage.strength))(stage),
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "token_was_revoked",
        "endpoint",
        (1, 1),
        _WRONG,
        changes(_MOVED_CREDENTIALS),
        answers("401"),
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "route_lost_in_a_release",
        "endpoint",
        (1, 1),
        told(Answer.NETWORK, Cause.WRONG_STATUS, also_cause=(Cause.WRONG_BODY,)),
        changes(_LOST_ROUTE),
        answers("404"),
        site=asked(body=_OK),
        prepare=serve,
    ),
    Variant(
        "no_space_behind_it",
        "endpoint",
        (1, 1),
        told(
            Answer.NETWORK,
            Cause.WRONG_STATUS,
            also_answer=(Answer.RESOURCE_EXHAUSTION,),
            also_cause=(Cause.DISK_FULL,),
        ),
        changes(_FULL),
        answers("507"),
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "says_so_itself",
        "endpoint",
        (1, 1),
        _BODY,
        changes(_SAYS_DOWN),
        answers("200", body="degraded"),
        site=asked(body=_OK),
        prepare=serve,
    ),
    Variant(
        "empty_since_the_release",
        "endpoint",
        (1, 1),
        _BODY,
        changes(_EMPTY),
        lambda stage: fetch(stage)[:2] == ("200", ""),
        site=asked(body="version"),
        prepare=serve,
    ),
    Variant(
        "page_of_the_packager",
        "endpoint",
        (1, 1),
        _BODY,
        changes(_DEFAULT_PAGE),
        answers("200", body="installed"),
        site=asked(body=_OK),
        prepare=serve,
    ),
    Variant(
        "sent_to_the_login",
        "endpoint",
        (1, 1),
        told(Answer.NETWORK, Cause.REDIRECTS, also_cause=(Cause.WRONG_STATUS,)),
        changes(_LOGIN),
        answers("302"),
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "slash_and_no_slash",
        "endpoint",
        (1, 1),
        _CIRCLES,
        changes(_CIRCLE),
        answers("301"),
        site=asked(follows=True),
        prepare=serve,
    ),
    Variant(
        "round_of_four",
        "endpoint",
        (1, 1),
        _CIRCLES,
        changes(_LONG_CIRCLE),
        answers("307"),
        site=asked(follows=True),
        prepare=serve,
    ),
    Variant(
        "resets_in_the_middle",
        "endpoint",
        (1, 1),
        _CLOSED,
        changes(_CRASHES),
        answers("ConnectionResetError", "RemoteDisconnected"),
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "hangs_up_politely",
        "endpoint",
        (1, 1),
        _CLOSED,
        changes(_HANGS_UP),
        answers("RemoteDisconnected"),
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "body_cut_off",
        "endpoint",
        (1, 1),
        told(Answer.NETWORK, Cause.CLOSED, also_cause=(Cause.WRONG_BODY, Cause.WAY_CUT)),
        changes(_CUT),
        _cut_short,
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "mail_at_the_port",
        "endpoint",
        (1, 1),
        told(Answer.NETWORK, Cause.NOT_HTTP),
        changes(_BANNER),
        lambda stage: first_bytes(stage).startswith(b"220"),
        site=asked(),
        prepare=serve,
    ),
    Variant(
        "export_without_end",
        "endpoint",
        (1, 10),
        told(
            Answer.SLOW_OPERATIONS,
            Cause.ENDLESS,
            also_answer=(Answer.NETWORK,),
            also_cause=(Cause.SLOW_BODY,),
        ),
        changes(_NEVER_ENDS),
        _goes_on,
        site=asked(timeout_s=2.5),
        prepare=serve,
    ),
    Variant(
        "one_backend_of_some",
        "endpoint",
        (3, 6),
        told(Answer.NETWORK, Cause.FLAPPING, also_cause=(Cause.WRONG_STATUS,)),
        changes(_ONE_OF_THREE),
        some_answer("502"),
        site=asked(count=20),
        prepare=serve,
    ),
    Variant(
        "clock_behind_refuses_signatures",
        "endpoint",
        (20, 240),
        told(
            Answer.SYNCHRONIZATION,
            Cause.CLOCK,
            also_answer=(Answer.NETWORK,),
            also_cause=(Cause.WRONG_STATUS,),
        ),
        changes(_LATE_CLOCK),
        answers("403", body="Skewed"),
        site=asked(),
        prepare=serve,
    ),
)
