"""Tell who carries a recovery out, and whether that process still lives."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

from medic8.model.recovery import Owner, Recovery, RecoveryState

_PROC = Path("/proc")


def this_process(flow_run: str = "") -> Owner:
    """The running process, named so that no other process on any machine has the same name."""
    pid = os.getpid()
    return process_of(pid, _start_ticks(pid) or 0).model_copy(update={"flow_run": flow_run})


def process_of(pid: int, started_at: int) -> Owner:
    """
    The process *pid* of this machine and pid namespace, named like `this_process`.

    Args:
        pid: Its number.
        started_at: When it was started, in clock ticks since boot: tells it from another one of that number.
    """
    return Owner(
        machine=machine_id(),
        boot=boot_id(),
        pid_namespace=_pid_namespace(),
        pid=pid,
        started_at=started_at,
    )


def is_known_dead(owner: Owner) -> bool:
    """
    Whether *owner* is certainly gone.

    Certain only from the same machine and pid namespace: another boot, no such
    pid, a pid with another start time, or a zombie. From elsewhere, for a
    stopped process, and for one that we may not look at, the answer is no: it may
    go on any moment.
    """
    if owner.machine != machine_id():
        return False
    if owner.boot != boot_id():
        return True
    if owner.pid_namespace != _pid_namespace():
        return False
    return _runs(owner) is False


def is_known_alive(owner: Owner) -> bool:
    """Whether *owner* certainly runs, here and now; from elsewhere nobody can tell."""
    is_here = (owner.machine, owner.boot) == (machine_id(), boot_id())
    return is_here and owner.pid_namespace == _pid_namespace() and _runs(owner) is True


def is_interrupted(recovery: Recovery) -> bool:
    """
    Whether *recovery* is open and its owner is certainly dead, or has not shown that it lives.

    A stopped process, and one on another machine, cannot be told from a living
    one; there the lease decides. If it goes on after all, its fence is old. It also
    decides about another boot: machines that were copied share their id.
    """
    is_dead = recovery.owner.boot == boot_id() and is_known_dead(recovery.owner)
    return recovery.state is RecoveryState.OPEN and (recovery.has_lapsed or is_dead)


def age_s(recovery: Recovery, now: datetime) -> float:
    """How long ago *recovery* was opened, in seconds; by the wall clock only if that was on another boot."""
    if recovery.opened_boot == boot_id():
        return time.clock_gettime(time.CLOCK_BOOTTIME) - recovery.opened_boot_s
    return (now - recovery.opened_at).total_seconds()


def machine_id() -> str:
    """The machine's id with its name, since machines and containers made of one image may share the id."""
    name = os.uname().nodename
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        if path.is_file() and (text := path.read_text().strip()):
            return f"{text} {name}"
    return name


def boot_id() -> str:
    """Which boot of this machine it is; another one after each."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _pid_namespace() -> str:
    return str((_PROC / "self/ns/pid").readlink())


def _runs(owner: Owner) -> bool | None:
    """Whether the process of *owner*, of this boot and pid namespace, runs; None if we may not know."""
    try:
        return _start_ticks(owner.pid) == owner.started_at
    except PermissionError:
        return None
    except (FileNotFoundError, ProcessLookupError):
        pass
    # Mounted with hidepid, /proc shows no processes of others (proc(5)); a signal finds them all the same.
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return None
    return None


def _start_ticks(pid: int) -> int | None:
    """Clock ticks since boot at which *pid* was started; None if it is a zombie."""
    text = (_PROC / str(pid) / "stat").read_text()
    # The command's name, in brackets, may hold anything; what follows the last bracket is fixed (proc(5)).
    after_name = text[text.rindex(")") + 2 :].split()
    state, start_ticks = after_name[0], int(after_name[19])
    return None if state in {"Z", "X"} else start_ticks
