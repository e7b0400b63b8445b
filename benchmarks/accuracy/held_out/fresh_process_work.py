"""Programs that are there and do not do their work."""

from __future__ import annotations

import http.client
import sys
from functools import partial
from pathlib import Path

from benchmarks.accuracy.held_out.fresh_process_memory import (
    broken_pid,
    pid_file,
    state,
    supervised,
    wait_for,
)
from benchmarks.accuracy.variant import Answer, Cause, ProcessSite, Site, Stage, Truth, Variant

_SERVES = """
import http.server, re, threading
accounts, journal, way = threading.Lock(), threading.Lock(), sys.argv[2]
def transfer():
    with accounts:
        time.sleep(0.2)
        with journal:
            pass
def settle():
    with journal:
        time.sleep(0.2)
        with accounts:
            pass
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/settle" and way == "locks":
            for each in (transfer, settle):
                threading.Thread(target=each, daemon=True).start()
        elif self.path == "/settle":
            threading.Timer(0.1, re.match, ("(x+x+)+y", "x" * 60)).start()
        else:
            with accounts:
                time.sleep(0.001)
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\\n")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
with open(sys.argv[1] + ".port", "w") as file:
    file.write("%d\\n" % server.server_port)
print("there", flush=True)
server.serve_forever()
"""


def _serves(way: str, stage: Stage) -> str:
    url = supervised(stage, _SERVES, way)
    port = Path(f"{pid_file(stage)}.port")
    wait_for(lambda: port.exists() and port.read_text().endswith("\n"))
    return url


def _ask(stage: Stage, path: str, timeout_s: float) -> int:
    port = int(Path(f"{pid_file(stage)}.port").read_text())
    way = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        way.request("GET", path)
        return way.getresponse().status
    finally:
        way.close()


def _settle(stage: Stage) -> str:
    _ask(stage, "/settle", 10)
    wait_for(lambda: not _serves_well(stage))
    return ""


def _serves_well(stage: Stage) -> bool:
    try:
        return _ask(stage, "/", 2) == 200
    except (OSError, http.client.HTTPException):
        return False


def _checked(stage: Stage) -> Site:
    """By the file of the port, since another start has another one."""
    source = (
        "import sys, urllib.request as u; port = open(sys.argv[1]).read().strip(); "
        "u.urlopen('http://127.0.0.1:%s/' % port, timeout=2)"
    )
    return Site(process=ProcessSite(check=(sys.executable, "-c", source, f"{pid_file(stage)}.port")))


def _is_alive_and_silent(stage: Stage) -> bool:
    return state(broken_pid(stage)) in {"S", "R"} and not _serves_well(stage)


def _deadlocked(_: Stage) -> Truth:
    return Truth(
        Answer.NETWORK,
        Cause.FAILS_ITS_WORK,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.DEADLOCK, Cause.STUCK),
        healable=True,
    )


def _spins(_: Stage) -> Truth:
    return Truth(
        Answer.NETWORK,
        Cause.FAILS_ITS_WORK,
        also_answer=(Answer.SLOW_OPERATIONS, Answer.RESOURCE_EXHAUSTION),
        also_cause=(Cause.CPU_HOG,),
        healable=True,
    )


_CONSUMER = """
spool = sys.argv[2]
print("there", flush=True)
while True:
    for name in sorted(os.listdir(spool)):
        path = os.path.join(spool, name)
        try:
            with open(path) as file:
                int(file.read())
        except ValueError:
            break  # it will be tried again, and all others wait behind it
        os.unlink(path)
    time.sleep(0.1)
"""

_PRODUCER = """
import os, sys, time
spool = sys.argv[1]
for number in range(2_000):
    path = os.path.join(spool, "%06d" % number)
    with open(path + ".new", "w") as file:
        file.write("%d" % number)
    os.rename(path + ".new", path)
    if not number:
        print("there", flush=True)
    time.sleep(0.05)
time.sleep(3600)
"""


def _consumer(stage: Stage) -> str:
    spool = stage.folder / "spool"
    spool.mkdir()
    url = supervised(stage, _CONSUMER, str(spool))
    stage.keep_going(_PRODUCER, str(spool))
    return url


def _waiting(stage: Stage) -> int:
    return sum(1 for _ in (stage.folder / "spool").iterdir())


def _poison(stage: Stage) -> str:
    (stage.folder / "spool" / "000000").write_text("not a number")
    wait_for(lambda: _waiting(stage) > 30)
    return ""


def _spool_check(stage: Stage) -> Site:
    source = "import os, sys; sys.exit(len(os.listdir(sys.argv[1])) > 25)"
    return Site(process=ProcessSite(check=(sys.executable, "-c", source, str(stage.folder / "spool"))))


def _spool_piles_up(stage: Stage) -> bool:
    return state(broken_pid(stage)) in {"S", "R"} and _waiting(stage) > 25


def _fails(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.FAILS_ITS_WORK, also_answer=(Answer.SLOW_OPERATIONS,))


VARIANTS = (
    Variant(
        "fresh_locks_in_another_order",
        "process",
        (1, 1),
        _deadlocked,
        _settle,
        _is_alive_and_silent,
        site=_checked,
        prepare=partial(_serves, "locks"),
    ),
    Variant(
        "fresh_pattern_that_explodes",
        "process",
        (1, 1),
        _spins,
        _settle,
        _is_alive_and_silent,
        site=_checked,
        prepare=partial(_serves, "pattern"),
    ),
    Variant(
        "fresh_poison_at_the_head",
        "process",
        (1, 1),
        _fails,
        _poison,
        _spool_piles_up,
        site=_spool_check,
        prepare=_consumer,
    ),
)
