"""A replica of the lab's server, of its own process and folder."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

import valkey
import valkey.exceptions

from medic8.errors import UnreachableError
from medic8.local.lab.acting.line import line, rest
from medic8.local.lab.acting.order import PREFIX, Order, Play, Ready
from medic8.local.loopback import HOST, free_port
from medic8.local.scratch import ScratchValkey
from medic8.targets.valkey.client import connection, info, options_of, replicas_in

_WAIT_S = 60.0
_LOOK_S = 0.05
_MIB = 1 << 20
_STOPPED_S = 40


def replica(order: Order) -> Play:
    """
    Start a replica and do to it what the style says.

    ``follows``: nothing, it gets its full copy. ``writable``: it takes *amount* writes of its own.
    ``diverged``: it has taken them, and takes none any more. ``lost``: its primary moves to where nobody
    is. ``lags``: it stops for a while, again and again, and *amount* MiB are written meanwhile.
    ``primary``: it becomes the primary, as in a planned fail-over.
    """
    options = options_of(order.url)
    folder = Path(tempfile.mkdtemp(prefix="replica-", dir=order.folder))
    config = {"replicaof": f"{options['host']} {options['port']}", "save": '""'}
    with line(order, "lab-control") as primary, ScratchValkey(folder, config=config) as server:
        try:
            _wait_until_loaded(server)
            with connection(server.url, name="lab-control") as client:
                _wait(client, "master_link_status", "up")
                _wait_for_primary(primary, server.port)
                told = _done(order, primary, client, server)
            yield Ready(
                told=told,
                url="" if order.style in {"follows", "lags", "primary"} else server.url,
                family=(server.pid,),
                folders=(str(folder), str(server.data.parent)),
            )
            while server.server.identity.is_alive():
                if order.style == "lags":
                    _go_on_and_fall_behind(order, primary, server)
                rest(primary, 1.0)
        finally:
            if order.style == "primary":
                with contextlib.suppress(valkey.exceptions.ValkeyError):  # it may be gone
                    primary.execute_command("REPLICAOF", "NO", "ONE")


def _done(
    order: Order, primary: valkey.Valkey, client: valkey.Valkey, server: ScratchValkey
) -> tuple[str, ...]:
    where = f"{HOST}:{server.port}"
    if order.style in {"writable", "diverged"}:
        client.config_set("replica-read-only", "no")
        for number in range(order.amount):
            client.set(f"{PREFIX}diverged:{number}", "written on the replica alone")
        if order.style == "writable":
            return (f"the replica {where} takes writes of its own; {order.amount:,} keys differ by now",)
        client.config_set("replica-read-only", "yes")
        return (f"the replica {where} has {order.amount:,} keys that its primary has not, and follows",)
    if order.style == "lags":
        _fall_behind(order, primary, server)
        return (f"the replica {where} has stopped and is {order.amount:,} MiB behind, again and again",)
    if order.style == "lost":
        nobody = free_port(())
        client.execute_command("REPLICAOF", HOST, nobody)
        _wait(client, "master_link_status", "down")
        return (f"the replica {where} looks for its primary at {HOST}:{nobody}, where nobody is",)
    if order.style == "primary":
        primary.execute_command("FAILOVER", "TO", HOST, server.port)
        _wait(client, "role", "master")
        _wait(primary, "master_link_status", "up")
        return (f"{where} is the primary now, and the lab's server follows it",)
    return (f"the replica {where} has got its full copy and follows",)


def _fall_behind(order: Order, primary: valkey.Valkey, server: ScratchValkey) -> None:
    """Stop the replica, and have its primary write what it will miss."""
    os.kill(server.pid, signal.SIGSTOP)
    for number in range(order.amount + 1):
        primary.set(f"{PREFIX}report:{number}", bytes(_MIB))


def _go_on_and_fall_behind(order: Order, primary: valkey.Valkey, server: ScratchValkey) -> None:
    """Before its primary takes it for dead (repl-timeout, 60 s), the replica goes on, for a moment."""
    for _ in range(_STOPPED_S):
        rest(primary, 1.0)
    os.kill(server.pid, signal.SIGCONT)
    rest(primary, 1.0)
    _fall_behind(order, primary, server)


def _wait_for_primary(primary: valkey.Valkey, port: int) -> None:
    """Until the primary knows that the replica at *port* follows, a moment later than that knows it."""
    deadline = time.monotonic() + _WAIT_S
    while not any(
        (int(each["port"]), each["state"]) == (port, "online")
        for each in replicas_in(info(primary, "replication"))
    ):
        if time.monotonic() > deadline:
            raise UnreachableError(f"the replica at port {port} is not online after {_WAIT_S:g} s")


def _wait_until_loaded(server: ScratchValkey) -> None:
    """Wait until a connection comes about: it begins with a PING, which nobody is answered meanwhile."""
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            with connection(server.url, name="lab-control"):
                break
        except UnreachableError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_S)


def _wait(client: valkey.Valkey, field: str, wanted: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while (seen := info(client, "replication").get(field)) != wanted:
        if time.monotonic() > deadline:
            raise UnreachableError(f"{field} is {seen} after {_WAIT_S:g} s, and not {wanted}")
        time.sleep(_LOOK_S)
