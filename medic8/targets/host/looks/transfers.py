"""Whether disks and the network are the bottleneck, by what they did while they were watched."""

from __future__ import annotations

from collections.abc import Iterator

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.model.report import Reading, reading
from medic8.model.wording import size
from medic8.targets.host.looks.advice import set_and_keep
from medic8.targets.host.looks.moment import Moment
from medic8.targets.host.looks.pressure import Pressure
from medic8.targets.host.policy import POLICY, HostPolicy
from medic8.targets.machine import kernel

#: A disk that is less busy is no bottleneck, however long single requests take.
_LEAST_BUSY = 0.9

#: Fewer requests say nothing about their average.
_LEAST_REQUESTS = 5

#: Less of the last minute than this did work wait for disks: then nobody is held up.
_LEAST_WAITING = 0.2

_LEAST_ERRORS, _LEAST_RESENT = 10, 20

#: Listening sockets are looked through only so far.
_MOST_SOCKETS = 20_000

Pair = tuple[Moment, Moment]


def disk_readings(whole: Pair) -> Iterator[Reading | None]:
    """How busy each disk was, and how long requests took."""
    before, after = whole
    passed_s = after.at_s - before.at_s
    for name, now in after.disks.items():
        if (was := before.disks.get(name)) is None or not now.done:
            continue
        wait_s = share((now.waited_ms - was.waited_ms) / 1000, now.done - was.done)
        yield reading(
            f"disk.busy.{name}", round(min(1.0, (now.busy_ms - was.busy_ms) / 1000 / passed_s), 3), "ratio"
        )
        yield reading(f"disk.rate.{name}", round((now.bytes - was.bytes) / passed_s), "bytes")
        yield reading(f"disk.wait.{name}", None if wait_s is None else round(wait_s, 6), "seconds")


def link_readings(whole: Pair) -> Iterator[Reading | None]:
    """How much each interface moved, and what was lost."""
    before, after = whole
    for name, now in after.links.items():
        if (was := before.links.get(name)) is not None and now.packets:
            yield reading(
                f"network.rate.{name}", round((now.bytes - was.bytes) / (after.at_s - before.at_s)), "bytes"
            )
            yield reading(f"network.errors.{name}", now.errors, "count")
            yield reading(f"network.dropped.{name}", now.dropped, "count")
    sent = after.tcp.get("Tcp.OutSegs", 0) - before.tcp.get("Tcp.OutSegs", 0)
    again = after.tcp.get("Tcp.RetransSegs", 0) - before.tcp.get("Tcp.RetransSegs", 0)
    if sent > 0:
        yield reading("network.resent", round(again / sent, 5), "ratio")


def judge_disks(whole: Pair, waits: Pressure | None, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """
    Which disks are saturated or slow, so that work waits for them.

    A disk that is busy all the time with a backup and still answers fast holds nobody up.

    Args:
        whole: The first and the last moment of the watch.
        waits: What waits for disks; None if the kernel does not tell.
        policy: From where on it is worth a word.
    """
    if waits is not None and waits.some_60 < _LEAST_WAITING:
        return ()
    before, after = whole
    passed_s = after.at_s - before.at_s
    findings: list[Finding] = []
    for name, now in after.disks.items():
        was = before.disks.get(name)
        if was is None or now.done - was.done < _LEAST_REQUESTS:
            continue
        busy = (now.busy_ms - was.busy_ms) / 1000 / passed_s
        findings += over(
            "disk.slow",
            policy.slow_disk,
            (now.waited_ms - was.waited_ms) / 1000 / (now.done - was.done) if busy >= _LEAST_BUSY else None,
            f"reads and writes of disk {name} take {{seen}} on average",
            about=f"disk {name}",
            advice=(
                f"iostat -x {name} 1; iotop -o   # who reads and writes, and how many requests wait",
                f"smartctl -a /dev/{name}   # whether the disk itself is failing",
            ),
            also=(
                Evidence(what="busy", seen=f"{min(busy, 1):.0%}"),
                Evidence(
                    what="requests under way on average",
                    seen=f"{(now.queued_ms - was.queued_ms) / 1000 / passed_s:.1f}",
                ),
                Evidence(what="moved each second", seen=size((now.bytes - was.bytes) / passed_s)),
            ),
        )
    return tuple(findings)


def judge_links(whole: Pair, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Which interfaces receive or send with errors; what is dropped is often meant to be, and told only."""
    before, after = whole
    findings: list[Finding] = []
    for name, now in after.links.items():
        was = before.links.get(name)
        errors = now.errors - was.errors if was else 0
        if was is None or errors < _LEAST_ERRORS:
            continue
        findings += over(
            "network.errors",
            policy.link_errors,
            share(errors, now.packets - was.packets + errors),
            f"interface {name} has errors with {{seen}} of its packets",
            about=f"interface {name}",
            advice=(f"ethtool -S {name}; ip -s link show {name}   # cable, port, driver or duplex",),
        )
    return tuple(findings)


def judge_resent(whole: Pair, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether many TCP segments are sent again."""
    before, after = whole
    gained = {
        name: after.tcp.get(name, 0) - before.tcp.get(name, 0) for name in ("Tcp.OutSegs", "Tcp.RetransSegs")
    }
    is_enough = gained["Tcp.RetransSegs"] >= _LEAST_RESENT
    return over(
        "network.resent",
        policy.resent,
        share(gained["Tcp.RetransSegs"], gained["Tcp.OutSegs"]) if is_enough else None,
        "{seen} of the TCP segments are sent again",
        about="TCP",
        advice=(
            "ss -tin   # which connections (retrans:); a way that loses packets, or a receiver that is full",
        ),
    )


def judge_queues(whole: Pair, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether full accept queues turned connections away while we looked."""
    before, after = (each.tcp.get("TcpExt.ListenOverflows") for each in whole)
    if before is None or after is None or after <= before:
        return ()
    return full_queues(after - before, "while we looked", policy=policy)


def full_queues(count: int, when: str, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """The finding that *count* connections were turned away, with where most wait now."""
    return over(
        "network.accept_queue",
        policy.turned_away,
        count,
        f"full accept queues turned {{seen}} connections away {when}",
        about="accept queues",
        advice=(
            "ss -ltn   # Recv-Q waits of Send-Q that may wait, for each port",
            set_and_keep("net.core.somaxconn", 4096),
            "the program must ask for a longer queue too (listen(2), backlog), and be restarted",
        ),
        also=(Evidence(what="where most wait to be accepted now", seen=longest_queue()),),
    )


def longest_queue() -> str:
    """The port at which most connections wait to be accepted, in words."""
    found = (0, 0)
    try:
        for number, each in enumerate(kernel.sockets()):
            if number >= _MOST_SOCKETS:
                break
            if each.state == kernel.LISTEN:
                found = max(found, (each.waiting, each.near.port))
    except (OSError, ValueError, IndexError):
        return "cannot be seen"
    waiting, port = found
    return f"port {port}: {waiting:,}" if waiting else "nowhere any more"
