"""Whether somebody keeps the clock, by what the kernel was told."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from medic8.analysis.judging import fact
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.host.looks.looking import here, result
from medic8.targets.kind import Surroundings
from medic8.targets.machine.files import Machine
from medic8.targets.machine.processes import processes

#: Programs that keep clocks, as far as the kernel keeps their names.
_KEEPERS = ("chronyd", "ntpd", "systemd-timesyn")

#: What adjtimex(2) says of a clock that nobody keeps, and of one whose status is that.
_STA_UNSYNC, _TIME_ERROR = 0x0040, 5


class _Timex(ctypes.Structure):
    """``struct timex``, up to what is read. Source: adjtimex(2); Linux, include/uapi/linux/timex.h."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class Clock(NamedTuple):
    """
    What the kernel knows of its clock.

    Attributes:
        is_kept: Whether somebody keeps it.
        most_wrong_s: By how much it may be wrong at most, as far as it is kept.
    """

    is_kept: bool
    most_wrong_s: float


def look_at_clock(target: Target, around: Surroundings) -> DiagnosticResult:
    """Ask the kernel; nothing is set."""
    machine = here(target)
    clock = ask_kernel(machine)
    keepers = sorted({each.name for each in processes(machine) if each.name in _KEEPERS})
    readings = (
        reading("clock.is_kept", clock.is_kept if clock else None),
        reading("clock.most_wrong", clock.most_wrong_s if clock and clock.is_kept else None, "seconds"),
        reading("clock.keepers", ", ".join(keepers) or "none that is seen"),
    )
    return result("clock", around, machine, readings, judge_clock(clock, keepers))


def ask_kernel(machine: Machine) -> Clock | None:
    """adjtimex(2) without setting anything; None where it may not be asked."""
    told = _Timex()
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(told))
    except (OSError, AttributeError):
        state = -1
    if state < 0:
        machine.unseen.append("whether the clock is kept: adjtimex(2) is refused")
        return None
    is_kept = state != _TIME_ERROR and not told.status & _STA_UNSYNC
    return Clock(is_kept, told.maxerror / 1e6)


def judge_clock(clock: Clock | None, keepers: list[str]) -> tuple[Finding, ...]:
    """
    Whether the clock may drift.

    Where no program is seen that should keep it, the hypervisor or the host around a container may: that is
    worth knowing, and no issue.
    """
    if clock is None or clock.is_kept:
        return ()
    if keepers:
        return fact(
            "clock.unkept",
            Severity.WARNING,
            f"the clock is not synchronised, although {keepers[0]} runs",
            about="clock",
            evidence=(Evidence(what="kernel", seen="not synchronised", limit="synchronised"),),
            advice=("chronyc sources -v; timedatectl timesync-status   # do its servers answer?",),
        )
    return fact(
        "clock.unknown",
        Severity.INFO,
        "nobody is seen who keeps the clock",
        about="clock",
        evidence=(Evidence(what="kernel", seen="not synchronised"),),
        advice=("apt-get install chrony   # unless the hypervisor keeps it",),
    )
