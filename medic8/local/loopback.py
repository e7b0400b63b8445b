"""Choose ports on the loopback interface and see who listens on them."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping

import psutil

HOST = "127.0.0.1"


def past_proxies(environment: Mapping[str, str]) -> str:
    """
    The ``no_proxy`` with which clients reach the loopback interface directly; a proxy knows nothing of ours.

    The name in lower case goes before the other, so it has to say all. Source: urllib.request.getproxies.
    """
    direct = environment.get("no_proxy", environment.get("NO_PROXY", ""))
    return direct if HOST in direct.split(",") else f"{direct},{HOST}".lstrip(",")


def free_port(preferred: Iterable[int]) -> int:
    """
    Get the first of the *preferred* ports that is free, else one that the system chooses.

    The answer is true for a moment only: who binds the port later must cope with having lost it.

    Args:
        preferred: Ports in the order of preference.
    """
    for port in (*preferred, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As servers do: connections of an earlier server that linger in TIME_WAIT do not take the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError("the system chose port 0")


def is_listening(pid: int, port: int) -> bool:
    """Tell whether process *pid* listens on loopback *port*: an answer there might be somebody else's."""
    try:
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            for connection in psutil.Process(pid).net_connections("tcp4")
        )
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # the kernel denies the files of a process that ends
        return False
