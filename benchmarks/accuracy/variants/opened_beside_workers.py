"""Programs that take ever more of something, as their authors did not notice."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.accuracy.variant import Answer, Cause, ProcessSite, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_beside_means import (
    count,
    grows,
    resident,
    spawned,
    wait_until,
    zombies,
)

ORDERS = """
import random, sys, time

class Orders:
    def __init__(self): self.history = {}
    def take(self, number, kib):
        lines = [{"article": "%08d" % random.randrange(10**8), "text": "n" * 180} for _ in range(2 * kib)]
        self.history[number] = lines
        return sum(len(each["text"]) for each in lines)

orders, number, kib_a_second = Orders(), 0, int(sys.argv[1])
while True:
    orders.take(number, max(1, kib_a_second // 20))
    number += 1
    if len(orders.history) > 2400: time.sleep(3600)
    time.sleep(0.05)
"""

NOTIFIER = """
import os, socket, sys, threading

server = socket.create_server(("127.0.0.1", 0), backlog=64)
with open(sys.argv[1] + ".new", "w") as file: file.write(str(server.getsockname()[1]))
os.rename(sys.argv[1] + ".new", sys.argv[1])
subscribers = {}
while True:
    connection, whence = server.accept()
    connection.settimeout(5)
    try: connection.recv(200)
    except OSError: pass
    if len(subscribers) < 400: subscribers[whence] = connection
    else: connection.close()
"""

SUBSCRIBERS = """
import socket, sys, time

pause, first = 1 / float(sys.argv[2]), True
while True:
    try:
        with socket.create_connection(("127.0.0.1", int(open(sys.argv[1]).read())), 5) as connection:
            connection.sendall(b"subscribe prices")
    except (OSError, ValueError):
        pass
    if first: print("there", flush=True)
    first = False
    time.sleep(pause)
"""

QUOTES = """
import queue, sys, threading, time

threading.stack_size(256 << 10)
a_second, waiting = float(sys.argv[1]), []

def ask(answers): answers.get()

while True:
    if threading.active_count() < 180:
        threading.Thread(target=ask, args=(queue.Queue(),), daemon=True).start()
    time.sleep(1 / a_second)
"""

MAILER = """
import os, sys, time

sent, pause = 0, 10 / float(sys.argv[1])
while True:
    if sent < 170:
        os.posix_spawn("/bin/true", ["true"], {})
        sent += 1
    time.sleep(0.05 if sent < 8 else pause)
"""


def _broken(stage: Stage) -> int:
    """The process that was broken; a program that is started again is another one."""
    return int(stage.notes.get("pid", "0"))


def _supervised(stage: Stage, program: str, *words: str) -> str:
    address = stage.supervise(program, *words)
    stage.notes["pid"] = str(spawned(stage)[-1])
    return address


def _may_restart(_: Stage) -> Site:
    return Site(process=ProcessSite(holds_data=False))


def keep_orders(stage: Stage) -> str:
    """Every order is kept in a history that nobody reads."""
    address = _supervised(stage, ORDERS, str(stage.strength))
    first = resident(_broken(stage))
    wait_until(lambda: resident(_broken(stage)) > max(first, 9000) + 1500)
    return address


def orders_are_kept(stage: Stage) -> bool:
    """Whether the memory grows."""
    return grows(lambda: resident(_broken(stage)), stage.strength)


def start_notifier(stage: Stage) -> str:
    """Start a service of subscriptions that has none yet."""
    stage.notes["port"] = str(stage.folder / "port")
    address = _supervised(stage, NOTIFIER, stage.notes["port"])
    wait_until((stage.folder / "port").exists)
    return address


def hang_up(stage: Stage) -> str:
    """Subscribers come and go; it keeps the ones that have gone."""
    stage.keep_going(SUBSCRIBERS, stage.notes["port"], str(stage.strength / 10))
    wait_until(lambda: count(_broken(stage), "fd") > 9)
    return ""


def sockets_stay(stage: Stage) -> bool:
    """Whether its descriptors grow."""
    return grows(lambda: count(_broken(stage), "fd"), 3)


def wait_for_quotes(stage: Stage) -> str:
    """A thread for every question, and no answer comes to any."""
    source = stage.folder / f"{stage.word}.py"
    source.write_text(QUOTES)
    child = subprocess.Popen([sys.executable, str(source), str(stage.strength / 10)])
    stage.cleanup.callback(child.wait)
    stage.cleanup.callback(child.kill)
    stage.notes["pid"] = str(child.pid)
    wait_until(lambda: count(child.pid, "task") > 3)
    return f"command:*/{source.name}"


def threads_stay(stage: Stage) -> bool:
    """Whether its threads grow."""
    return grows(lambda: count(_broken(stage), "task"), 3)


def forget_children(stage: Stage) -> str:
    """A child for every mail, none of them waited for."""
    address = _supervised(stage, MAILER, str(stage.strength))
    wait_until(lambda: zombies(_broken(stage)) >= 8)
    return address


def children_stay(stage: Stage) -> bool:
    """Whether it has ended children."""
    return zombies(_broken(stage)) >= 8


VARIANTS = (
    Variant(
        "orders_kept_in_history",
        "process",
        (700, 3000),
        lambda _: Truth(Answer.MEMORY_LEAK, Cause.PROCESS_MEMORY_LEAK, healable=True),
        keep_orders,
        orders_are_kept,
        site=_may_restart,
    ),
    Variant(
        "subscribers_gone_unnoticed",
        "process",
        (8, 50),
        lambda _: Truth(Answer.MEMORY_LEAK, Cause.DESCRIPTOR_LEAK, healable=True),
        hang_up,
        sockets_stay,
        site=_may_restart,
        prepare=start_notifier,
    ),
    Variant(
        "quotes_never_come",
        "process",
        (7, 40),
        lambda _: Truth(Answer.MEMORY_LEAK, Cause.THREAD_LEAK),
        wait_for_quotes,
        threads_stay,
    ),
    Variant(
        "mailer_forgets_children",
        "process",
        (5, 30),
        lambda _: Truth(
            Answer.MEMORY_LEAK, Cause.ZOMBIES, also_answer=(Answer.RESOURCE_EXHAUSTION,), healable=True
        ),
        forget_children,
        children_stay,
        site=_may_restart,
    ),
)
