"""Programs that run, and do not do what they are there for, or take what others need."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, ProcessSite, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_beside_means import (
    count,
    spawned,
    status,
    wait_until,
    wanted_s,
    within,
)

#: A service that says "ok" to whoever connects; told by a file, its two kinds of work lock each other out.
BOOKS = """
import os, socket, sys, threading, time

accounts, journal = threading.Lock(), threading.Lock()
server = socket.create_server(("127.0.0.1", 0), backlog=64)
with open(sys.argv[1] + ".new", "w") as file: file.write(str(server.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])

def book(first, second, both):
    with first:
        both.wait()
        with second: pass

def close_the_month():
    while not os.path.exists(sys.argv[2]): time.sleep(0.1)
    both = threading.Barrier(2)
    for pair in ((accounts, journal), (journal, accounts)):
        threading.Thread(target=book, args=(*pair, both), daemon=True).start()
    os.remove(sys.argv[2])

threading.Thread(target=close_the_month, daemon=True).start()
while True:
    connection, _ = server.accept()
    with connection, accounts: connection.sendall(b"ok")
"""

ASK = """
import socket, sys
try:
    with socket.create_connection(("127.0.0.1", int(open(sys.argv[1]).read())), 2) as connection:
        sys.exit(connection.recv(10) != b"ok")
except OSError:
    sys.exit(1)
"""

LICENCE = """
import sys, time
print("starting", flush=True)
time.sleep(float(sys.argv[1]))
sys.exit("licence server: no seat left")
"""

FEED = """
import os, select, socket, sys, threading, time

server = socket.create_server(("127.0.0.1", 0), backlog=64)
with open(sys.argv[1] + ".new", "w") as file: file.write(str(server.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
poll, feeds = select.epoll(), {}

def read():
    while True:
        for descriptor, _ in poll.poll():
            feeds[descriptor].recv(1000)

for _ in range(int(sys.argv[2])):
    threading.Thread(target=read, daemon=True).start()
while True:
    feed, _ = server.accept()
    feed.setblocking(False)
    feeds[feed.fileno()] = feed
    poll.register(feed.fileno(), select.EPOLLIN)
"""

CHAT = """
import os, resource, socket, sys, time

resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
server = socket.create_server(("127.0.0.1", 0), backlog=64)
with open(sys.argv[1] + ".new", "w") as file: file.write(str(server.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
rooms = []
while True:
    try: rooms.append(server.accept())
    except OSError: time.sleep(0.2)
"""

VISITORS = """
import os, socket, sys, time

port, number, most = int(open(sys.argv[1]).read()), sys.argv[2], int(sys.argv[3])
kept = []
while len(os.listdir("/proc/%s/fd" % number)) < most:
    kept.append(socket.create_connection(("127.0.0.1", port), 5))
    time.sleep(0.01)
print("there", flush=True)
time.sleep(3600)
"""

ACCESS = """
import signal, sys, time

def opened(*_):
    global log
    log = open(sys.argv[1], "ab", buffering=0)

opened()
signal.signal(signal.SIGHUP, opened)
for _ in range(int(sys.argv[2])): log.write(b"GET /articles/0815 200 " * 45590)
print("there", flush=True)
while True:
    log.write(b"GET /articles/0815 200\\n" * 40)
    time.sleep(0.1)
"""


def _broken(stage: Stage) -> int:
    return int(stage.notes.get("pid", "0"))


def _starts(stage: Stage, program: str, *words: str) -> str:
    """Start it under a supervisor, and wait for its port."""
    stage.notes["port"] = str(stage.folder / "port")
    address = stage.supervise(program, stage.notes["port"], *words)
    wait_until((stage.folder / "port").exists)
    stage.notes["pid"] = str(spawned(stage)[-1])
    return address


def _ask(stage: Stage) -> tuple[str, ...]:
    return (sys.executable, "-c", ASK, stage.notes["port"])


def _asked(stage: Stage) -> Site:
    return Site(process=ProcessSite(check=_ask(stage), holds_data=False))


def start_books(stage: Stage) -> str:
    """Start the service of accounts."""
    return _starts(stage, BOOKS, str(stage.folder / "month"))


def books_wait(stage: Stage) -> bool:
    """Whether it does not answer, though it runs."""
    return status(_broken(stage), "State") != "" and subprocess.run(_ask(stage), check=False).returncode != 0


def close_the_month(stage: Stage) -> str:
    """Two kinds of work take the same locks the other way round."""
    (stage.folder / "month").touch()
    wait_until(lambda: not (stage.folder / "month").exists())
    wait_until(lambda: books_wait(stage))
    return ""


def hold(stage: Stage) -> str:
    """Somebody stops it and forgets it, as ctrl-Z does."""
    pid = _broken(stage)

    def let_go() -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    stage.cleanup.callback(let_go)
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_held(stage))
    return ""


def is_held(stage: Stage) -> bool:
    """Whether it is stopped."""
    return status(_broken(stage), "State").startswith("T")


def ask_for_a_licence(stage: Stage) -> str:
    """It ends soon after each start."""
    address = stage.supervise(LICENCE, str(stage.strength / 10))
    wait_until(lambda: len(spawned(stage)) >= 3)
    return address


def starts_again(stage: Stage) -> bool:
    """Whether it is started once more."""
    before = len(spawned(stage))
    return before >= 3 and within(lambda: len(spawned(stage)) > before)


def start_feeds(stage: Stage) -> str:
    """Start a reader of feeds."""
    return _starts(stage, FEED, str(stage.strength))


def end_feeds(stage: Stage) -> str:
    """The feeds end, and it goes on to read them."""
    port = int(Path(stage.notes["port"]).read_text())
    for _ in range(3):
        socket.create_connection(("127.0.0.1", port), 5).close()
    wait_until(lambda: spins(stage))
    return ""


def spins(stage: Stage) -> bool:
    """Whether it would use a whole processor, of which others may have a part."""
    before, begun = wanted_s(_broken(stage)), time.monotonic()
    time.sleep(1.5)
    return wanted_s(_broken(stage)) - before > 0.85 * (time.monotonic() - begun)


def start_chat(stage: Stage) -> str:
    """Start a service that may have 200 files open."""
    return _starts(stage, CHAT)


def visit(stage: Stage) -> str:
    """There come as many as it can have, nearly."""
    most = 200 * stage.strength // 100
    stage.keep_going(VISITORS, stage.notes["port"], stage.notes["pid"], str(most))
    wait_until(lambda: is_visited(stage))
    return ""


def is_visited(stage: Stage) -> bool:
    """Whether nine of ten descriptors are open."""
    return count(_broken(stage), "fd") >= 180


def start_logging(stage: Stage) -> str:
    """Start a program with a log that is not small."""
    log = stage.folder / f"{stage.word}.log"
    child = stage.keep_going(ACCESS, str(log), str(stage.strength))
    stage.notes.update(log=str(log), pid=str(child.pid))
    file = stage.folder / "pid"
    file.write_text(f"{child.pid}\n")
    return f"pidfile:{file}"


def remove_log(stage: Stage) -> str:
    """Somebody wants the room back, and does not tell the program."""
    Path(stage.notes["log"]).unlink()
    return ""


def is_held_open(stage: Stage) -> bool:
    """Whether it writes to a file that has no name."""
    with suppress(OSError):
        for each in list(Path(f"/proc/{_broken(stage)}/fd").iterdir()):
            with suppress(OSError):
                if str(each.readlink()).endswith(f"{stage.word}.log (deleted)"):
                    return True
    return False


VARIANTS = (
    Variant(
        "month_closes_itself_in",
        "process",
        (1, 1),
        lambda _: Truth(
            Answer.NETWORK,
            Cause.FAILS_ITS_WORK,
            also_answer=(Answer.SLOW_OPERATIONS,),
            also_cause=(Cause.STUCK, Cause.DEADLOCK),
            healable=True,
        ),
        close_the_month,
        books_wait,
        site=_asked,
        prepare=start_books,
    ),
    Variant(
        "held_and_forgotten",
        "process",
        (1, 1),
        lambda _: Truth(Answer.NETWORK, Cause.STOPPED, also_answer=(Answer.SLOW_OPERATIONS,)),
        hold,
        is_held,
        prepare=start_books,
    ),
    Variant(
        "no_seat_for_the_licence",
        "process",
        (6, 25),
        lambda _: Truth(Answer.NETWORK, Cause.RESTARTS),
        ask_for_a_licence,
        starts_again,
    ),
    Variant(
        "feeds_ended_and_read",
        "process",
        (1, 3),
        lambda _: Truth(Answer.RESOURCE_EXHAUSTION, Cause.CPU_HOG, also_answer=(Answer.SLOW_OPERATIONS,)),
        end_feeds,
        spins,
        prepare=start_feeds,
    ),
    Variant(
        "visitors_up_to_the_limit",
        "process",
        (93, 100),
        lambda _: Truth(Answer.RESOURCE_EXHAUSTION, Cause.DESCRIPTOR_LIMIT),
        visit,
        is_visited,
        prepare=start_chat,
    ),
    Variant(
        "access_log_removed",
        "process",
        (24, 56),
        lambda _: Truth(
            Answer.RESOURCE_EXHAUSTION,
            Cause.DELETED_FILES,
            also_answer=(Answer.MEMORY_LEAK,),
            also_cause=(Cause.LOG_GROWS,),
            healable=True,
        ),
        remove_log,
        is_held_open,
        site=lambda _: Site(process=ProcessSite(reload="HUP")),
        prepare=start_logging,
    ),
)
