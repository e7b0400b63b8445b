"""The other side of replication as the server names it, and whether it may be asked without being told."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

from medic8.targets.facts import Facts

#: Replicas that are looked at without the site having named them.
_MOST = 3


def peers_of(address: str, facts: Facts) -> tuple[list[str], list[str]]:
    """
    Addresses of the other side that may be asked, and the places (host and port) of those that may not.

    Who names them is the server, so they get nothing that it does not have already: neither a user or
    password, nor a connection to another machine. Those of other machines are for the site to name.

    Args:
        address: The server's own, as the target has it.
        facts: The section ``replication`` of INFO.
    """
    if facts.get("role") == "slave":
        named = [(facts.get("master_host", ""), facts.get("master_port", ""))]
    else:
        named = [
            (each.get("ip", ""), each.get("port", ""))
            for number, each in facts.starting("slave")
            if number.isdecimal() and each.get("state", "online") == "online"
        ]
    parts = urlsplit(address)
    asked: list[str] = []
    others: list[str] = []
    for host, port in named:
        is_ours = (
            parts.username is None
            and parts.password is None
            and "password" not in parts.query
            and parts.scheme != "unix"
            and port.isdecimal()
            and 0 < int(port) < 1 << 16
            and _is_same(host, parts.hostname or "")
        )
        if is_ours and len(asked) < _MOST:
            place = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
            asked.append(urlunsplit(parts._replace(netloc=f"{place}:{port}")))
        else:
            others.append(f"{host}:{port}")
    return asked, others


def _is_same(one: str, other: str) -> bool:
    """Whether two names are of one machine for certain."""
    return one.lower() == other.lower() or (_is_here(one) and _is_here(other))


def _is_here(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
