"""
Whether a server that reads its certificate again might trust other clients from then on.

It builds all of its TLS anew then, so it reads whom it trusts again as well. What it has loaded it does not
tell; only what has not changed since it started is known to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from medic8.targets.facts import Facts

#: What else a server is asked for before it reads its certificate again.
TRUST = ("tls-auth-clients", "tls-replication", "tls-cluster", "tls-ca-cert-file", "tls-ca-cert-dir")

#: Files of a folder that are looked at; a system's own has some hundreds.
_MOST_FILES = 4096


def started_at_s(facts: Facts) -> int | None:
    """When the server started, to the second that had begun, by its clock; None if it is not told."""
    now_us, up_s = facts.whole("server_time_usec"), facts.whole("uptime_in_seconds")
    return None if now_us is None or up_s is None else now_us // 1_000_000 - up_s


def why_trust_may_change(setting: Callable[[str], str | None], started_s: int | None) -> str:
    """
    Why reading everything again may shut out who gets in now; empty if it cannot.

    Args:
        setting: What the server says of each of `TRUST`, and of ``dir``.
        started_s: When the server started, Unix time; None is not known.
    """
    uses = [
        f"{name} {setting(name) or '?'}"
        for name, off in (("tls-auth-clients", "no"), ("tls-replication", "no"), ("tls-cluster", "no"))
        if setting(name) != off
    ]
    if not uses:
        return ""
    told = [name for name in ("tls-ca-cert-file", "tls-ca-cert-dir") if setting(name)]
    for name in told:
        path = Path(setting("dir") or "/") / (setting(name) or "")
        try:
            changed_s = max(_changes_s(path))
        except (OSError, ValueError) as exc:
            reason = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
            return f"{name} {path} would be read again ({', '.join(uses)}): {reason}"
        if started_s is None or changed_s >= started_s:
            return (
                f"{name} {path} would be read again ({', '.join(uses)}), and is not known to be what the "
                "server has loaded: "
                + (
                    "when the server started is not told"
                    if started_s is None
                    else "it was changed since the server started"
                )
                + ". Whoever it does not vouch for any more would be shut out"
            )
    return ""


def _changes_s(path: Path) -> Iterator[float]:
    """When *path*, what it points to, and what lies in it if it is a folder, were changed last."""
    inside = list(islice(path.iterdir(), _MOST_FILES + 1)) if path.is_dir() else []
    if len(inside) > _MOST_FILES:
        raise ValueError(f"more than {_MOST_FILES:,} files")
    for each in (path, *inside):
        for status in (each.lstat(), each.stat()):
            yield max(status.st_mtime, status.st_ctime)
