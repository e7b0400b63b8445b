"""What waits: locks whose holders are gone or wait for each other, and clients that are held back."""

from __future__ import annotations

import valkey
import valkey.exceptions

from benchmarks.accuracy.held_out.anew_growth import plain, until
from benchmarks.accuracy.variant import Answer, Cause, Stage, Truth, Variant

# A worker takes the lock and dies; others try again and again, as lock libraries do.

_HOLDER = """
import os, socket, sys
import valkey
client = valkey.Valkey.from_url(sys.argv[1], client_name=sys.argv[3])
client.set(sys.argv[2], f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}", nx=True)
print("there", flush=True)
os._exit(1)
"""

_WAITERS = """
import os, socket, sys, threading, time
import valkey
def wait(number):
    client = valkey.Valkey.from_url(sys.argv[1], client_name=f"{sys.argv[3]}-{number}")
    me = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
    while not client.set(sys.argv[2], me, nx=True):
        time.sleep(0.1)
    time.sleep(0.05)
    client.delete(sys.argv[2])
for number in range(int(sys.argv[4])):
    threading.Thread(target=wait, args=(number,), daemon=True).start()
time.sleep(1)
print("there", flush=True)
time.sleep(3600)
"""


def _leave_lock(stage: Stage) -> str:
    key = f"{stage.prefix}:lock:invoice-run"
    stage.keep_going(_HOLDER, stage.url, key, f"{stage.word}-0").wait(timeout=20)
    stage.notes["holder"] = plain(stage).get(key).decode()
    stage.keep_going(_WAITERS, stage.url, key, stage.word, str(stage.strength))
    return ""


def _is_lock_left(stage: Stage) -> bool:
    held = plain(stage, timeout_s=5).get(f"{stage.prefix}:lock:invoice-run")
    return held is not None and held.decode() == stage.notes["holder"]


def _stale(stage: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.STALE_LOCK,
        objects=(f"{stage.prefix}:lock:invoice-run",),
        also_answer=(Answer.SYNCHRONIZATION,),
    )


# Two workers have each taken the account that the other one needs.

_CROSSED = """
import os, socket, sys, threading, time
import valkey
url, name = sys.argv[1:3]
keys = sys.argv[3:]
taken = threading.Barrier(len(keys) + 1)
def work(number):
    client = valkey.Valkey.from_url(url, client_name=f"{name}-{number}")
    me = f"{name}-{number}"
    client.set(keys[number], me, nx=True)
    taken.wait()
    while not client.set(keys[(number + 1) % len(keys)], me, nx=True):
        time.sleep(0.1)
for number in range(len(keys)):
    threading.Thread(target=work, args=(number,), daemon=True).start()
taken.wait()
time.sleep(1)
print("there", flush=True)
time.sleep(3600)
"""


def _accounts(stage: Stage) -> tuple[str, ...]:
    return tuple(f"{stage.prefix}:lock:account:{number + 1}" for number in range(stage.strength))


def _cross(stage: Stage) -> str:
    stage.keep_going(_CROSSED, stage.url, stage.word, *_accounts(stage))
    return ""


def _are_crossed(stage: Stage) -> bool:
    client = plain(stage, timeout_s=5)
    held = [client.get(key) for key in _accounts(stage)]
    return held == [f"{stage.word}-{number}".encode() for number in range(stage.strength)]


def _crossed(stage: Stage) -> Truth:
    return Truth(
        Answer.SLOW_OPERATIONS,
        Cause.DEADLOCK,
        objects=_accounts(stage),
        also_answer=(Answer.SYNCHRONIZATION,),
        also_cause=(Cause.STALE_LOCK,),
    )


# A fail-over script holds all writes back for ten minutes, and dies before it lets go.


def _pause(stage: Stage) -> str:
    client = plain(stage)
    client.execute_command("CLIENT", "PAUSE", stage.strength * 1000, "WRITE")
    stage.cleanup.callback(client.execute_command, "CLIENT", "UNPAUSE")
    until(lambda: _is_paused(stage), "writes wait")
    return ""


def _is_paused(stage: Stage) -> bool:
    try:
        with valkey.Valkey.from_url(stage.url, socket_timeout=1.5, retry=None) as client:
            client.get(f"{stage.prefix}:probe")
            client.set(f"{stage.prefix}:probe", "x", ex=1)
    except valkey.exceptions.TimeoutError:
        return True
    except valkey.exceptions.ValkeyError:
        return False
    return False


def _paused(_: Stage) -> Truth:
    return Truth(Answer.SLOW_OPERATIONS, Cause.PAUSED, also_answer=(Answer.NETWORK,), healable=True)


VARIANTS = (
    Variant("anew_invoice_lock_left", "valkey", (2, 8), _stale, _leave_lock, _is_lock_left),
    Variant("anew_accounts_crossed", "valkey", (2, 3), _crossed, _cross, _are_crossed),
    Variant("anew_writes_held_back", "valkey", (300, 900), _paused, _pause, _is_paused, alone=True),
)
