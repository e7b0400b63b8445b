"""What this machine tells of the memory that a server on it may still take."""

from __future__ import annotations

import ipaddress
import socket
import time
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

from medic8.targets.facts import Facts
from medic8.targets.machine.cgroup import left_in_cgroup

#: A process is the server if it has been running as long as the server says, give or take so much.
_SLACK_S = 5.0


class Available(NamedTuple):
    """
    Memory that a server on this machine may still take.

    Attributes:
        of_host: What the host could give to a program without swapping.
        of_cgroup: What the tightest limit of its control groups leaves; None if there is no limit.
    """

    of_host: int
    of_cgroup: int | None


class Unknown(NamedTuple):
    """
    That a server seems to be on this machine and nobody can tell what it may still take.

    Attributes:
        why: For people; goes on after "there is".
    """

    why: str


_NOT_FOUND = Unknown(
    "no telling how much: its address is one of this machine, and its process is none that is seen from here "
    "(it is in a container, or the port is a forwarded one)"
)


def available_to(address: str, facts: Facts) -> Available | Unknown | None:
    """
    What the server at *address* may still take; None if it is on another machine.

    A server whose address is here and whose process is not found may be in a container of this machine, whose
    limit nobody sees: that is unknown, and not as much as the host has.

    Args:
        address: The target's.
        facts: The section ``server`` of INFO.
    """
    if not _is_here(address):
        return None
    pid, uptime_s = facts.whole("process_id"), facts.number("uptime_in_seconds")
    if pid is None or uptime_s is None:
        return _NOT_FOUND
    if not is_it(pid, uptime_s):
        return _NOT_FOUND
    return Available(psutil.virtual_memory().available, left_in_cgroup(pid))


def is_it(pid: int, uptime_s: float) -> bool:
    """Whether process *pid* of this machine is a server that says so, and for how long it has run."""
    try:
        age_s = time.time() - psutil.Process(pid).create_time()
    except (psutil.Error, ValueError, OverflowError):
        return False
    return bool(abs(age_s - uptime_s) <= _SLACK_S)  # else the number is that of another process here


def _is_here(address: str) -> bool:
    """Whether *address* is one of this machine, or nobody can tell."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        return True
    try:
        found = {str(each[4][0]) for each in socket.getaddrinfo(parts.hostname or "localhost", None)}
    except (OSError, UnicodeError):
        return True
    own = {each.address for every in psutil.net_if_addrs().values() for each in every}
    return any(each in own or ipaddress.ip_address(each.partition("%")[0]).is_loopback for each in found)
