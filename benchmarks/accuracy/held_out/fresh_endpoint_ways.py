"""Services to which there is no way, or that say nothing."""

from __future__ import annotations

import os
import signal
import socket
from functools import partial

from benchmarks.accuracy.held_out.fresh_endpoint_answers import (
    network,
    service,
    turn,
)
from benchmarks.accuracy.held_out.fresh_endpoint_breaks import is_dropped, raw, short, sized, times_out
from benchmarks.accuracy.held_out.fresh_process_memory import state, wait_for
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

_PLAIN = "answer = well"


def _refuses(stage: Stage) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(stage.notes["port"])), timeout=2).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _die(stage: Stage) -> str:
    pid = int(stage.notes["pid"])
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: state(pid) in {"", "Z"} and _refuses(stage))
    return ""


_OTHER_ADDRESS = """
answer = well
def serve():
    server = Server(("127.0.0.1", 0), Answers)
    port = server.server_port
    print(port, flush=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    while not is_broken():
        time.sleep(0.05)
    server.shutdown()
    server.server_close()
    Server(("127.0.0.2", port), Answers).serve_forever()
"""


def _move(stage: Stage) -> str:
    """Restarted with a setting that has it listen elsewhere."""
    turn(stage)
    wait_for(lambda: _refuses(stage))
    return ""


_WAITS_FOREVER = """
never = threading.Lock()
never.acquire()
def broken(way):
    read(way)
    never.acquire()
"""

_ONE_WORKER = """
Answers.protocol_version = "HTTP/1.0"
class Server(http.server.HTTPServer):
    request_queue_size = 64
    def handle_error(self, *_):
        pass
answer = well
"""


def _slow_caller(stage: Stage) -> str:
    """The only worker waits for the rest of somebody's request."""
    caller = socket.create_connection(("127.0.0.1", int(stage.notes["port"])), timeout=5)
    stage.cleanup.callback(caller.close)
    caller.sendall(b"GET /health HTTP/1.1\r\nHost: shop\r\nX-Trace: ")
    return ""


_LISTENS_ONLY = """
def broken(way): pass
def serve():
    server = socket.create_server(("127.0.0.1", 0), backlog=int(sys.argv[2]))
    print(server.getsockname()[1], flush=True)
    ways = []
    while not is_broken():
        server.settimeout(0.05)
        try:
            way, _ = server.accept()
            threading.Thread(target=one, args=(way,), daemon=True).start()
        except TimeoutError:
            pass
    for _ in range(int(sys.argv[2]) + 3):
        way = socket.socket()
        way.setblocking(False)
        way.connect_ex(server.getsockname())
        ways.append(way)
    time.sleep(3600)
"""


def _fill_queue(stage: Stage) -> str:
    turn(stage)
    wait_for(lambda: is_dropped(stage))
    return ""


def _old_name(stage: Stage) -> str:
    return service(stage, _PLAIN)


def _new_name(stage: Stage) -> str:
    """What is asked for since the move is a name that nobody has entered."""
    stage.notes["name"] = f"{stage.word}.invalid"
    return f"http://{stage.notes['name']}:{stage.notes['port']}/health"


def _has_no_address(stage: Stage) -> bool:
    if "name" not in stage.notes:
        return False
    try:
        socket.getaddrinfo(stage.notes["name"], int(stage.notes["port"]))
    except socket.gaierror:
        return True
    return False


def _silent(_: Stage) -> Truth:
    return Truth(Answer.NETWORK, Cause.SILENT, also_answer=(Answer.SLOW_OPERATIONS,))


VARIANTS = (
    Variant(
        "fresh_killed_and_gone",
        "endpoint",
        (1, 1),
        network(Cause.REFUSED),
        _die,
        _refuses,
        prepare=partial(service, program=_PLAIN),
    ),
    Variant(
        "fresh_listens_elsewhere",
        "endpoint",
        (1, 1),
        network(Cause.REFUSED),
        _move,
        _refuses,
        prepare=partial(service, program=_OTHER_ADDRESS),
    ),
    Variant(
        "fresh_queue_full_of_others",
        "endpoint",
        (0, 8),
        network(Cause.DROPPED),
        _fill_queue,
        is_dropped,
        site=short,
        prepare=partial(sized, _LISTENS_ONLY),
    ),
    Variant(
        "fresh_name_not_entered",
        "endpoint",
        (1, 1),
        network(Cause.NAME_NOT_FOUND),
        _new_name,
        _has_no_address,
        prepare=_old_name,
    ),
    Variant(
        "fresh_waits_for_its_upstream",
        "endpoint",
        (1, 1),
        _silent,
        turn,
        times_out,
        site=short,
        prepare=partial(raw, program=_WAITS_FOREVER),
    ),
    Variant(
        "fresh_only_worker_is_held",
        "endpoint",
        (1, 1),
        _silent,
        _slow_caller,
        times_out,
        site=short,
        prepare=partial(service, program=_ONE_WORKER),
    ),
)
