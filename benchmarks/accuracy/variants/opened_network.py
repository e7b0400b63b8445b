"""Ways to a server that are slow, cut, or not to be trusted; each is met at an address of its own."""

from __future__ import annotations

import subprocess
import time
from contextlib import suppress

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.opened_neighbours import (
    address,
    free_port,
    info,
    open_way,
    port_of,
    server_program,
    wait_until,
)

TLS = """
import socket, ssl, sys, threading

port, target, certificate, key = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", port))
print("there", flush=True)


def pump(source, sink):
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
    except OSError:
        pass


def serve(raw):
    try:
        near = context.wrap_socket(raw, server_side=True)
    except OSError:
        return
    far = socket.create_connection(("127.0.0.1", target))
    threading.Thread(target=pump, args=(near, far), daemon=True).start()
    pump(far, near)


while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


SUPERVISE = """
import subprocess, sys, time, random

seconds, seed, line = float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
rng = random.Random(seed)
told = False
child = None
try:
    while True:
        child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not told:
            time.sleep(0.5)
            print("there", flush=True)
        told = True
        time.sleep(seconds * rng.uniform(0.8, 1.2))
        child.kill()
        child.wait()
        time.sleep(0.2)
finally:
    child.kill()
"""


def _by_way(stage: Stage, mode: str, amount: int) -> str:
    stage.notes["url"] = open_way(stage, mode, amount)
    return stage.notes["url"]


def _times(stage: Stage, count: int, timeout_s: float = 3.0) -> list[float]:
    """Seconds of some PINGs by the way, without the connection's own; a failed one counts as 99."""
    found = []
    client = stage.client(stage.notes["url"], timeout_s=timeout_s)
    end = time.monotonic() + 8
    for _ in range(count):
        begun = time.monotonic()
        if begun > end:
            break
        try:
            client.ping()
            found.append(time.monotonic() - begun)
        except (valkey.ValkeyError, OSError):
            found.append(99.0)
            time.sleep(0.05)
    return found[1:]


def _is_slow(stage: Stage) -> bool:
    if "url" not in stage.notes:
        return False
    found = sorted(_times(stage, 6))
    return 0.05 < found[len(found) // 2] < 90


def _is_lossy(stage: Stage) -> bool:
    if "url" not in stage.notes:
        return False
    found = _times(stage, 60)
    return sum(1 for each in found if each > 0.15) >= 2 and min(found) < 0.1


def _small_passes_large_does_not(stage: Stage) -> bool:
    if "url" not in stage.notes:
        return False
    client = stage.client(stage.notes["url"], timeout_s=2)
    try:
        client.ping()
    except (valkey.ValkeyError, OSError):
        return False
    try:
        client.execute_command("INFO")
    except (valkey.ValkeyError, OSError):
        return True
    return False


def _some_fail(stage: Stage) -> bool:
    """Whether some PINGs get an answer, and some do not."""
    if "url" not in stage.notes:
        return False
    found: list[bool] = []

    def both() -> bool:
        client = stage.client(stage.notes["url"], timeout_s=1)
        try:
            for _ in range(20):
                client.ping()
                found.append(True)
        except (valkey.ValkeyError, OSError):
            found.append(False)
        client.close()
        return len(set(found)) == 2

    return wait_until(both, within_s=9)


def _none_answers(stage: Stage) -> bool:
    if "url" not in stage.notes:
        return False
    client = stage.client(stage.notes["url"], timeout_s=2)
    try:
        client.ping()
    except (valkey.ValkeyError, OSError):
        return True
    return False


def _wrong_port(stage: Stage) -> str:
    """The service has moved, its address in the settings has not."""
    stage.notes["url"] = address(free_port())
    return stage.notes["url"]


def _old_certificate(stage: Stage) -> str:
    """The certificate in front of the server was renewed by nobody."""
    certificate, key = str(stage.folder / "server.crt"), str(stage.folder / "server.key")
    line = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    line += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    line += ["-days", str(stage.strength)]
    subprocess.run(line, check=True, capture_output=True)
    port = free_port()
    stage.keep_going(TLS, str(port), str(port_of(stage.url)), certificate, key)
    stage.notes["url"] = address(port, "valkeys")
    return stage.notes["url"]


def _certificate_is_refused(stage: Stage) -> bool:
    if "url" not in stage.notes:
        return False
    try:
        stage.client(stage.notes["url"], timeout_s=3).ping()
    except (valkey.ValkeyError, OSError) as error:
        return "CERTIFICATE" in str(error).upper()
    return False


def _crash_loop(stage: Stage) -> str:
    """A unit's limit of memory ends the server again and again, and the unit starts it again."""
    port = free_port()
    line = [server_program(stage), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    line += ["--dir", str(stage.folder), "--pidfile", str(stage.folder / "pid"), "--daemonize", "no"]
    stage.cleanup.callback(_end_by_port, port)
    words = (str(stage.strength), str(stage.rng.randrange(1 << 30)), *line)
    stage.keep_going(SUPERVISE, *words)
    stage.notes["loop"] = address(port)
    return address(port)


def _end_by_port(port: int) -> None:
    """The supervisor got SIGKILL: what it has started last is still to be ended."""
    with (
        suppress(valkey.ValkeyError, OSError),
        valkey.Valkey(port=port, socket_timeout=5, retry=None) as client,
    ):
        client.shutdown(nosave=True)


def _loop_is_there(stage: Stage) -> bool:
    if "loop" not in stage.notes:
        return False
    seen: set[str] = set()

    def two() -> bool:
        seen.add(str(info(stage.client(stage.notes["loop"]), "server")["run_id"]))
        return len(seen) > 1

    return wait_until(two, within_s=9.5)


def _network(cause: Cause, *also: Cause, also_answer: tuple[Answer, ...] = ()) -> Truth:
    return Truth(Answer.NETWORK, cause, also_cause=also, also_answer=also_answer)


VARIANTS = (
    Variant(
        "far_site",
        "valkey",
        (60, 400),
        lambda _: _network(Cause.WAY_SLOW),
        lambda stage: _by_way(stage, "delay", stage.strength),
        _is_slow,
        alone=True,
    ),
    Variant(
        "wireless_bridge",
        "valkey",
        (8, 25),
        lambda _: _network(Cause.WAY_SLOW),
        lambda stage: _by_way(stage, "loss", stage.strength),
        _is_lossy,
        alone=True,
    ),
    Variant(
        "tunnel_drops_large",
        "valkey",
        (500, 1400),
        lambda _: _network(Cause.WAY_CUT, Cause.WAY_SLOW, Cause.UNKNOWN),
        lambda stage: _by_way(stage, "mtu", stage.strength),
        _small_passes_large_does_not,
        alone=True,
        site=lambda _: Site(timeout_s=2.0),
    ),
    Variant(
        "service_has_moved",
        "valkey",
        (1, 1),
        lambda _: _network(Cause.WAY_CUT),
        _wrong_port,
        _none_answers,
        alone=True,
    ),
    Variant(
        "relay_without_end",
        "valkey",
        (1, 1),
        lambda _: _network(Cause.WAY_CUT),
        lambda stage: _by_way(stage, "silent", 0),
        _none_answers,
        alone=True,
        site=lambda _: Site(timeout_s=2.0),
    ),
    Variant(
        "balancer_resets",
        "valkey",
        (5, 12),
        lambda _: _network(Cause.WAY_CUT, Cause.WAY_FLAPS),
        lambda stage: _by_way(stage, "reset", stage.strength),
        _some_fail,
        alone=True,
    ),
    Variant(
        "balancer_flaps",
        "valkey",
        (700, 2000),
        lambda _: _network(Cause.WAY_FLAPS, Cause.WAY_CUT, Cause.RESTARTS),
        lambda stage: _by_way(stage, "flap", stage.strength),
        _some_fail,
        alone=True,
    ),
    Variant(
        "certificate_of_nobody",
        "valkey",
        (1, 5),
        lambda _: _network(Cause.CERTIFICATE),
        _old_certificate,
        _certificate_is_refused,
        alone=True,
    ),
    Variant(
        "started_again_and_again",
        "valkey",
        (2, 4),
        lambda _: Truth(
            Answer.NETWORK,
            Cause.RESTARTS,
            also_answer=(Answer.RESOURCE_EXHAUSTION,),
            also_cause=(Cause.WAY_FLAPS,),
        ),
        _crash_loop,
        _loop_is_there,
        alone=True,
    ),
)
