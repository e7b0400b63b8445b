"""What a site has configured for a target before anything broke."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ProcessSite:
    """
    What a site says of a process beside its address (kind ``process``).

    Attributes:
        check: A command that ends with 0 while the process does its work; empty = none.
        start: The command that starts it; only for addresses ``pidfile:`` and ``command:``.
        stop: The command that stops it; empty = by SIGTERM.
        reload: The signal at which it opens its logs again: ``HUP``, ``USR1``, ``USR2``; empty = none.
        timeout_s: Longest that it may take to stop, and to start; at most 45.
        warm_up_s: For so many seconds after its start it may grow. A process of a run is seconds old, so that
            0 says: it has long warmed up.
        holds_data: Whether a restart may lose data; None = not said.
    """

    check: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    reload: str = ""
    timeout_s: float = 30.0
    warm_up_s: int = 0
    holds_data: bool | None = None


@dataclass(frozen=True)
class RequestSite:
    """
    What an endpoint is asked for, and what is well (kind ``endpoint``).

    Attributes:
        method: ``GET`` or ``HEAD``.
        status: The good ones; empty = 200 to 299.
        body: What the answer has to contain; empty = anything.
        follows: Whether redirects to the same host are followed.
        count: How many requests a look makes, 2 to 20.
        ca_file: File of issuers to trust beside the system's; empty = none.
    """

    method: str = "GET"
    status: tuple[int, ...] = ()
    body: str = ""
    follows: bool = False
    count: int = 5
    ca_file: str = ""


@dataclass(frozen=True)
class FailOverSite:
    """
    How an endpoint comes to be served by another server: by a file, or by HAProxy (kind ``endpoint``).

    Attributes:
        standby: Url of whoever is to serve then.
        file: A file that says who serves, absolute.
        active: The text in it that says who serves now, there once.
        spare: What takes its place.
        reload: The command by which the file is read again.
        haproxy: HAProxy's runtime socket (level ``admin``) instead of a file.
        backend: Its backend.
        server: The server of the backend that is taken out.
        timeout_s: Longest for all of it.
    """

    standby: str
    file: str = ""
    active: str = ""
    spare: str = ""
    reload: tuple[str, ...] = ()
    haproxy: str = ""
    backend: str = ""
    server: str = ""
    timeout_s: float = 30.0


@dataclass(frozen=True)
class PruneSite:
    """
    Files that may go when a disk fills up (kind ``host``).

    Attributes:
        folder: The folder, absolute and without links on the way; not of the system.
        patterns: What names look like, as a shell has it.
        older_than: Seconds for which nothing was written to a file, at least 3,600.
        keep: Seconds that it can still be brought back, at least 3,600.
    """

    folder: str
    patterns: tuple[str, ...]
    older_than: int = 86_400
    keep: int = 604_800


@dataclass(frozen=True)
class Site:
    """
    What the site has configured for its target before anything broke.

    Attributes:
        setting: (name, minimum, maximum) of settings that have a range; None = no limit on that side
            (kind ``valkey``).
        expiry: (prefix, seconds) of keys that may live so long (kind ``valkey``).
        timeout_s: Longest wait for a reply.
        threshold: (name, warning, error) of limits that the site has of its own; None = as usual.
        process: Kind ``process`` only.
        request: Kind ``endpoint`` only.
        fail_over: Kind ``endpoint`` only.
        prune: Kind ``host`` only.
    """

    setting: tuple[tuple[str, int | None, int | None], ...] = ()
    expiry: tuple[tuple[str, int], ...] = ()
    timeout_s: float = 5.0
    threshold: tuple[tuple[str, float | None, float | None], ...] = ()
    process: ProcessSite = ProcessSite()
    request: RequestSite = RequestSite()
    fail_over: FailOverSite | None = None
    prune: tuple[PruneSite, ...] = ()


def together(sites: list[Site]) -> Site:
    """One site of two faults on one target; what can be there once is the first's."""
    if not sites:
        return Site()
    first = sites[0]
    return Site(
        setting=tuple(sorted({rule for each in sites for rule in each.setting}, key=str)),
        expiry=tuple(sorted({rule for each in sites for rule in each.expiry})),
        timeout_s=min(each.timeout_s for each in sites),
        threshold=tuple({rule[0]: rule for each in sites for rule in each.threshold}.values()),
        process=first.process,
        request=first.request,
        fail_over=first.fail_over,
        prune=tuple({rule.folder: rule for each in sites for rule in each.prune}.values()),
    )
