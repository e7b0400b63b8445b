"""Services that are well, though they look strange."""

from __future__ import annotations

import os
import signal
import time

from benchmarks.accuracy.variant import RequestSite, Site, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import end, is_alive, nothing_wrong, waits_for
from benchmarks.accuracy.variants.opened_aside_service import answers, asked, behaves, changes, fetch, serve

_WANTS_A_TOKEN = "answer(401, '', (('WWW-Authenticate', 'Bearer'),))"  # noqa: S105 - no secret
_NO_CONTENT = """
self.send_response(204); self.send_header("Connection", "close"); self.end_headers()
"""
_LARGE = """answer(200, '{"status": "ok", "rows": "' + "x" * (# << 16) + '"}')"""
_SLASH = """
if self.path.endswith("/"):
    answer()
else:
    answer(301, "", (("Location", self.path + "/"),))
"""
_WARMS_UP = """
started = os.stat(file).st_mtime
time.sleep(max(0.0, # / 100 - (time.time() - started) / 10))
answer()
"""
_REPORT = "time.sleep(# / 10); answer()"
_SAYS_ERROR = (
    """answer(200, '{"status": "ok", "errors": 0, "last_error": "connection refused at 02:14, recovered"}')"""
)


def _serve_closed(stage: Stage) -> str:
    behaves(stage, _WANTS_A_TOKEN)
    return serve(stage)


def _after_a_release(stage: Stage) -> str:
    """It was ended and began again a moment later, by somebody who meant it."""
    port = int(stage.notes["port"])
    os.kill(int(stage.notes["pid"]), signal.SIGTERM)
    waits_for(lambda: not is_alive(int(stage.notes["pid"])))
    end(int(stage.notes["pid"]))
    behaves(stage, 'answer(200, \'{"status": "ok", "version": "4.3"}\')')
    serve(stage, port=port)
    waits_for(lambda: fetch(stage)[0] == "200")
    return ""


def _report_may_take_long(_: Stage) -> Site:
    return Site(timeout_s=12.0, request=RequestSite(count=2), threshold=(("answer", 6.0, 10.0),))


def _takes_its_time(stage: Stage) -> bool:
    then = time.monotonic()
    return fetch(stage, 8.0)[0] == "200" and time.monotonic() - then > stage.strength / 10 - 0.1


VARIANTS = (
    Variant(
        "closed_to_strangers",
        "endpoint",
        (1, 1),
        nothing_wrong,
        changes(_WANTS_A_TOKEN),
        answers("401"),
        site=asked(status=(401,)),
        is_healthy=True,
        prepare=_serve_closed,
    ),
    Variant(
        "nothing_to_say",
        "endpoint",
        (1, 1),
        nothing_wrong,
        changes(_NO_CONTENT),
        answers("204"),
        site=asked(),
        is_healthy=True,
        prepare=serve,
    ),
    Variant(
        "answer_of_some_mebibytes",
        "endpoint",
        (8, 48),
        nothing_wrong,
        changes(_LARGE),
        answers("200", body="xxx"),
        site=asked(body='"status": "ok"'),
        is_healthy=True,
        prepare=serve,
    ),
    Variant(
        "slash_is_added",
        "endpoint",
        (1, 1),
        nothing_wrong,
        changes(_SLASH),
        answers("301"),
        site=asked(follows=True),
        is_healthy=True,
        prepare=serve,
    ),
    Variant(
        "warms_up_after_release",
        "endpoint",
        (10, 40),
        nothing_wrong,
        changes(_WARMS_UP),
        answers("200"),
        site=asked(),
        is_healthy=True,
        prepare=serve,
    ),
    Variant(
        "report_may_take_long",
        "endpoint",
        (12, 25),
        nothing_wrong,
        changes(_REPORT),
        _takes_its_time,
        site=_report_may_take_long,
        is_healthy=True,
        prepare=serve,
    ),
    Variant(
        "released_a_moment_ago",
        "endpoint",
        (1, 1),
        nothing_wrong,
        _after_a_release,
        answers("200", body="4.3"),
        site=asked(body='"status": "ok"'),
        is_healthy=True,
        prepare=serve,
    ),
    Variant(
        "tells_of_an_old_error",
        "endpoint",
        (1, 1),
        nothing_wrong,
        changes(_SAYS_ERROR),
        answers("200", body="refused"),
        site=asked(body='"status": "ok"'),
        is_healthy=True,
        prepare=serve,
    ),
)
