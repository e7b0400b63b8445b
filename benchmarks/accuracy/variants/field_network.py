"""Ways that are slow, lossy or cut, and a server that its keeper starts again and again."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.field_parts import ask, binary, free_port, start_proxy, wait_until

KEEPER = """
import ctypes, subprocess, sys, time
program, port, folder, life_s, pause_s = sys.argv[1:]
words = [program, "--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--logfile", ""]
told = False
while True:
    server = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, preexec_fn=lambda: ctypes.CDLL(None).prctl(1, 9)
    )
    if not told:
        time.sleep(0.5)
        print("there", flush=True)
        told = True
    time.sleep(float(life_s))
    server.kill()  # as the kernel does when a container is over its limit
    server.wait()
    time.sleep(float(pause_s))
"""


def _network(cause: Cause, *also: Cause, other: tuple[Answer, ...] = ()) -> Callable[[Stage], Truth]:
    return lambda _: Truth(Answer.NETWORK, cause, also_cause=also, also_answer=other)


def _through(mode: str, *, share: float = 1.0) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        stage.notes["way"] = start_proxy(stage, mode, stage.strength * share)
        return stage.notes["way"]

    return break_it


def _times_ms(stage: Stage, turns: int) -> list[float]:
    client, times = ask(stage, stage.notes["way"]), []
    for _ in range(turns):
        begun = time.monotonic()
        client.ping()
        times.append(1000 * (time.monotonic() - begun))
    return times


def _slow_there(stage: Stage) -> bool:
    return "way" in stage.notes and statistics.median(_times_ms(stage, 7)) > 20


def _lossy_there(stage: Stage) -> bool:
    return "way" in stage.notes and sum(each > 150 for each in _times_ms(stage, 25)) > 0


def _answers(stage: Stage, seconds: float, timeout_s: float = 0.5) -> tuple[int, int]:
    """How many of new connections' calls were answered, and how many not."""
    end, yes, no = time.monotonic() + seconds, 0, 0
    while time.monotonic() < end:
        client = ask(stage, stage.notes["way"], timeout_s)
        try:
            client.ping()
            time.sleep(0.2)
            client.ping()
            yes += 1
        except (valkey.ValkeyError, OSError):
            no += 1
        client.close()
    return yes, no


def _flaps_there(stage: Stage) -> bool:
    if "way" not in stage.notes:
        return False
    yes, no = _answers(stage, 7)
    return yes > 0 and no > 0


def _cut_there(stage: Stage) -> bool:
    if "way" not in stage.notes:
        return False
    client = ask(stage, stage.notes["way"], 2)

    first = int(client.client_id())

    def is_cut() -> bool:
        try:
            return int(client.client_id()) != first  # the library has connected again
        except (valkey.ValkeyError, OSError):
            return True

    return wait_until(is_cut, 6)


def _break_refused(stage: Stage) -> str:
    """The service's port was moved; the address that everybody has is dead."""
    stage.notes["way"] = f"valkey://127.0.0.1:{free_port()}/0"
    return stage.notes["way"]


def _refused_there(stage: Stage) -> bool:
    return "way" in stage.notes and _answers(stage, 0.5)[0] == 0


def _break_keeper(stage: Stage) -> str:
    port, folder = free_port(), stage.folder / "kept"
    folder.mkdir()
    life_s, pause_s = stage.strength, stage.rng.uniform(0.3, 1.2)
    stage.keep_going(KEEPER, binary(stage), str(port), str(folder), str(life_s), str(pause_s))
    stage.notes["way"] = f"valkey://127.0.0.1:{port}/0"
    return stage.notes["way"]


def _restarts_there(stage: Stage) -> bool:
    if "way" not in stage.notes:
        return False
    told: set[str] = set()

    def seen_two() -> bool:
        told.add(ask(stage, stage.notes["way"], 1).info("server")["run_id"])
        return len(told) > 1

    return wait_until(seen_two, 9)


def _break_timeout(stage: Stage) -> str:
    ask(stage).config_set("timeout", stage.strength)
    return ""


def _timeout_there(stage: Stage) -> bool:
    return 0 < int(ask(stage).config_get("timeout")["timeout"]) < 60


def _range_timeout(_: Stage) -> Site:
    return Site(setting=(("timeout", 300, None),))


def _truth_timeout(_: Stage) -> Truth:
    others = (Answer.RESOURCE_EXHAUSTION,)
    also = (Cause.WAY_CUT,)
    return Truth(
        Answer.NETWORK,
        Cause.SETTING,
        objects=("timeout",),
        also_answer=others,
        also_cause=also,
        healable=True,
    )


_KIND = "valkey"
_RESTARTED = (Answer.RESOURCE_EXHAUSTION,)

VARIANTS = (
    Variant(
        "field_far_region",
        _KIND,
        (40, 300),
        _network(Cause.WAY_SLOW),
        _through("delay"),
        _slow_there,
        alone=True,
    ),
    Variant(
        "field_bad_cable",
        _KIND,
        (8, 30),
        _network(Cause.WAY_SLOW),
        _through("lose"),
        _lossy_there,
        alone=True,
    ),
    Variant(
        "field_gateway_cuts_young",
        _KIND,
        (100, 900),
        _network(Cause.WAY_CUT, Cause.WAY_FLAPS),
        _through("cut"),
        _cut_there,
        alone=True,
    ),
    Variant(
        "field_balancer_with_dead_half",
        _KIND,
        (35, 70),
        _network(Cause.WAY_CUT, Cause.WAY_FLAPS),
        _through("hang"),
        _flaps_there,
        site=lambda _: Site(timeout_s=1.5),
        alone=True,
    ),
    Variant(
        "field_address_floats",
        _KIND,
        (500, 1800),
        _network(Cause.WAY_FLAPS, Cause.WAY_CUT),
        _through("flap"),
        _flaps_there,
        alone=True,
    ),
    Variant(
        "field_port_moved",
        _KIND,
        (1, 2),
        _network(Cause.WAY_CUT),
        _break_refused,
        _refused_there,
        alone=True,
    ),
    Variant(
        "field_container_over_its_limit",
        _KIND,
        (1, 4),
        _network(Cause.RESTARTS, Cause.WAY_FLAPS, other=_RESTARTED),
        _break_keeper,
        _restarts_there,
        alone=True,
    ),
    Variant(
        "field_timeout_of_a_second",
        _KIND,
        (1, 6),
        _truth_timeout,
        _break_timeout,
        _timeout_there,
        site=_range_timeout,
        alone=True,
    ),
)
