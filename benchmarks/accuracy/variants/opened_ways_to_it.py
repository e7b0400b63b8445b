"""What is between a client and a server, or whether there is a server at all."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_means import (
    FLAPPING,
    address,
    binary,
    free_port,
    info,
    listens,
    proxy,
    until,
)

# A server of its own that is killed every few seconds, as for want of memory, and started again.
DIES = """
import signal, subprocess, sys, time, ctypes
program, port, folder, life = sys.argv[1:5]
def with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
first = True
while True:
    child = subprocess.Popen([program, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder],
                             stdout=subprocess.DEVNULL, preexec_fn=with_parent)
    time.sleep(float(life))
    child.kill()
    child.wait()
    if first:
        print("there", flush=True)
        first = False
"""


def _by_proxy(does: str, much: Callable[[Stage], float]) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        proxy(stage, does, much(stage))
        stage.notes["port"] = stage.said
        return address(int(stage.said))

    return break_it


def prepare_proxy(stage: Stage) -> str:
    """A proxy that is stopped later."""
    process = proxy(stage, "nothing")
    stage.notes["port"], stage.notes["pid"] = stage.said, str(process.pid)
    return address(int(stage.said))


def break_gone(stage: Stage) -> str:
    """The way ends: nobody listens at the port any more."""
    os.kill(int(stage.notes["pid"]), signal.SIGKILL)
    until(lambda: not listens(int(stage.notes["port"])))
    return ""


def break_flapping(stage: Stage) -> str:
    """Comes and goes."""
    port = free_port()
    up, down = stage.strength / 10, 0.6 + stage.rng.random()
    stage.notes["port"] = str(port)
    stage.keep_going(FLAPPING, stage.url.rpartition(":")[2].partition("/")[0], str(port), str(up), str(down))
    return address(port)


def break_dying(stage: Stage) -> str:
    """Starts again and again."""
    port = free_port()
    stage.notes["port"] = str(port)
    stage.keep_going(DIES, binary(stage), str(port), str(stage.folder), str(stage.strength / 10))
    until(lambda: listens(port), 10)
    return address(port)


def _client(stage: Stage, timeout_s: float = 3.0) -> valkey.Valkey:
    return stage.client(address(int(stage.notes["port"])), timeout_s=timeout_s)


def is_slow(stage: Stage) -> bool:
    """A round trip by the way takes tens of milliseconds at least, now and then."""
    client, longest, end = _client(stage, 8.0), 0.0, time.monotonic() + 6
    while longest < 0.05 and time.monotonic() < end:
        start = time.monotonic()
        client.echo(b"e" * 2000)
        longest = max(longest, time.monotonic() - start)
    return longest >= 0.05


def is_cut(stage: Stage) -> bool:
    """Of some requests, one at least fails by the way, and none on the server itself."""
    failed = 0
    for _ in range(6):
        try:
            client = _client(stage, 1.0)
            client.ping()
            client.info("everything")
            client.config_get("*")
        except (valkey.ValkeyError, OSError):
            failed += 1
        if failed:
            break
    return failed > 0 and bool(stage.client().ping())


def is_refused(stage: Stage) -> bool:
    """Nobody listens."""
    return not listens(int(stage.notes["port"]))


def comes_and_goes(stage: Stage) -> bool:
    """It is there once and not there once within some seconds."""
    port, end = int(stage.notes["port"]), time.monotonic() + 9
    seen: set[bool] = set()
    while len(seen) < 2 and time.monotonic() < end:
        seen.add(listens(port))
        time.sleep(0.05)
    return len(seen) == 2


def starts_again(stage: Stage) -> bool:
    """Its name of a run changes within seconds."""
    end = time.monotonic() + 9
    seen: set[str] = set()
    while len(seen) < 2 and time.monotonic() < end:
        with contextlib.suppress(valkey.ValkeyError, OSError):
            seen.add(info(_client(stage, 1.0), "server")["run_id"])
        time.sleep(0.1)
    return len(seen) == 2


def speaks_http(stage: Stage) -> bool:
    """Another service answers."""
    with socket.create_connection(("127.0.0.1", int(stage.notes["port"])), timeout=3) as one:
        one.sendall(b"PING\r\n")
        return one.recv(100).startswith(b"HTTP/")


def truth_slow(_: Stage) -> Truth:
    """The server is quick, and the way is not."""
    return Truth(Answer.NETWORK, Cause.WAY_SLOW, also_answer=(Answer.SLOW_OPERATIONS,))


def truth_cut(_: Stage) -> Truth:
    """Connections break, or do not come about."""
    return Truth(
        Answer.NETWORK,
        Cause.WAY_CUT,
        also_cause=(Cause.WAY_FLAPS, Cause.CLOSED, Cause.DROPPED, Cause.SILENT, Cause.STUCK, Cause.STOPPED),
    )


def truth_big(_: Stage) -> Truth:
    """Short answers come, long ones do not, as on a way that drops large packets without a word."""
    return Truth(
        Answer.NETWORK,
        Cause.WAY_CUT,
        also_answer=(Answer.SLOW_OPERATIONS,),
        also_cause=(Cause.WAY_SLOW, Cause.ENDLESS, Cause.SILENT, Cause.STUCK),
    )


def truth_gone(_: Stage) -> Truth:
    """From outside, a server that does not run is the same."""
    return Truth(Answer.NETWORK, Cause.WAY_CUT, also_cause=(Cause.NOT_RUNNING, Cause.REFUSED))


def truth_flaps(_: Stage) -> Truth:
    """There, and gone, and there."""
    return Truth(Answer.NETWORK, Cause.WAY_FLAPS, also_cause=(Cause.WAY_CUT, Cause.FLAPPING, Cause.RESTARTS))


def truth_some(_: Stage) -> Truth:
    """A balancer that sends each so many connections to a server that is gone."""
    return Truth(
        Answer.NETWORK,
        Cause.WAY_FLAPS,
        also_cause=(Cause.WAY_CUT, Cause.FLAPPING, Cause.CLOSED, Cause.ONE_ADDRESS),
    )


def truth_dying(_: Stage) -> Truth:
    """It was started seconds ago, again."""
    return Truth(Answer.NETWORK, Cause.RESTARTS, also_cause=(Cause.WAY_FLAPS, Cause.WAY_CUT))


def truth_other(_: Stage) -> Truth:
    """There is no word for it in the list."""
    return Truth(Answer.NETWORK, Cause.OTHER, also_cause=(Cause.WAY_CUT, Cause.CLOSED, Cause.FAILS_ITS_WORK))


def _milliseconds(stage: Stage) -> float:
    return stage.strength / 1000


def _itself(stage: Stage) -> float:
    return float(stage.strength)


def _way(
    name: str,
    strength: tuple[int, int],
    truth: Callable[[Stage], Truth],
    break_it: Callable[[Stage], str],
    is_there: Callable[[Stage], bool],
) -> Variant:
    return Variant(name, "valkey", strength, truth, break_it, is_there, alone=True)


VARIANTS = (
    _way("line_to_another_continent", (150, 700), truth_slow, _by_proxy("delay", _milliseconds), is_slow),
    _way("line_that_loses_and_repeats", (300, 1200), truth_slow, _by_proxy("stall", _milliseconds), is_slow),
    _way("line_of_a_modem", (8_000, 30_000), truth_slow, _by_proxy("narrow", _itself), is_slow),
    _way("balancer_resets_all", (1, 1), truth_cut, _by_proxy("reset", _itself), is_cut),
    _way("balancer_takes_and_is_silent", (1, 1), truth_cut, _by_proxy("swallow", _itself), is_cut),
    _way("wall_cuts_after_some_bytes", (500, 4_000), truth_cut, _by_proxy("cut", _itself), is_cut),
    _way("large_answers_are_lost", (1_000, 1_400), truth_big, _by_proxy("big_lost", _itself), is_cut),
    _way("balancer_with_one_dead_member", (2, 3), truth_some, _by_proxy("some_reset", _itself), is_cut),
    _way("web_server_at_the_port", (1, 1), truth_other, _by_proxy("chat", _itself), speaks_http),
    _way("listener_opens_and_closes", (4, 14), truth_flaps, break_flapping, comes_and_goes),
    _way("server_killed_every_seconds", (8, 25), truth_dying, break_dying, starts_again),
    Variant(
        "forwarder_has_ended",
        "valkey",
        (1, 1),
        truth_gone,
        break_gone,
        is_refused,
        alone=True,
        prepare=prepare_proxy,
    ),
)
