"""What happened since earlier diagnoses: kills, full queues, a clock that was set, disks that fill up."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from medic8.analysis.judging import fact, over
from medic8.analysis.trends import Shape, growth_of
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticResult, reading
from medic8.model.sample import Sample
from medic8.model.target import Target
from medic8.model.wording import moment, size, span
from medic8.owner import boot_id
from medic8.targets.host.looks.looking import here, result
from medic8.targets.host.looks.mounts import Fill, Mount, fill_of, mounts
from medic8.targets.host.looks.transfers import full_queues
from medic8.targets.host.policy import POLICY, HostPolicy, policy_of
from medic8.targets.kind import Surroundings

#: Names of what is kept; the last is followed by where the file system is mounted.
KILLS, TURNED_AWAY, WALL, SINCE_BOOT, USED_OF = "oom_kills", "turned_away", "wall", "since_boot", "used:"

#: File systems of which a sample is kept: the fullest.
_MOST_MOUNTS = 20

_DAY_S, _HOUR_S = 86_400.0, 3600.0

#: What was longer ago than this is no news.
_NEWS_OF_KILLS_S, _NEWS_OF_QUEUES_S = _DAY_S, _HOUR_S

#: A clock that is slewed gains or loses so much at most. Source: adjtimex(2).
_MOST_SLEWED = 0.0005

#: A trend is believed for so many times as long as it was seen.
_BELIEVED = 4


def look_at_history(target: Target, around: Surroundings) -> DiagnosticResult:
    """Keep a sample of a few counters, and hold it against those that are kept."""
    machine = here(target)
    told = machine.numbers("proc/vmstat")
    tcp = machine.pairs("proc/net/netstat")
    every = mounts(machine)
    fills = {
        each.folder: fill
        for each in every
        if not each.is_read_only and (fill := fill_of(machine, each)) is not None
    }
    now = sample_of(told.get("oom_kill"), tcp.get("TcpExt.ListenOverflows"), fills, around.now)
    earlier: tuple[Sample, ...] = ()
    if around.samples is not None:
        # Read first: a clock that was set back makes earlier samples come from the future, and they go.
        earlier = around.samples.read(target.name)
        try:
            around.samples.add(target.name, now)
        except OSError as exc:
            machine.unseen.append(f"the samples of {target.name} cannot be kept: {exc}")
    before = last_of(earlier, now)
    readings = (
        reading("history.samples", len(earlier), "count"),
        reading("history.since", passed_s(before, now) if before else None, "seconds"),
    )
    policy = policy_of(target)
    findings = (
        *judge_since(before, now, policy=policy),
        *judge_filling((*earlier, now), fills, policy=policy),
        *judge_turned(earlier, now, every),
    )
    return result("history", around, machine, readings, findings)


def sample_of(
    kills: int | None,
    turned_away: int | None,
    fills: Mapping[str, Fill],
    at: datetime,
    since_boot_s: float = 0.0,
) -> Sample:
    """
    What is kept of one moment.

    Args:
        kills: Processes killed for want of memory since the boot; None if that is not told.
        turned_away: Connections that full accept queues turned away since the boot; None if that is not told.
        fills: How full each file system is, by where it is mounted.
        at: When.
        since_boot_s: How long ago the boot was; 0 = ask the kernel.
    """
    values = {
        WALL: at.timestamp(),
        SINCE_BOOT: since_boot_s or time.clock_gettime(time.CLOCK_BOOTTIME),
    }
    for name, value in ((KILLS, kills), (TURNED_AWAY, turned_away)):
        if value is not None:
            values[name] = float(value)
    fullest = sorted(fills.items(), key=lambda pair: -(pair[1].used or 0))[:_MOST_MOUNTS]
    values |= {f"{USED_OF}{folder}": float(fill.used_bytes) for folder, fill in fullest}
    return Sample(at=at, run=boot_id(), values=values)


def last_of(earlier: Sequence[Sample], now: Sample) -> Sample | None:
    """The newest of this boot, by the clock that nobody sets; None if there is none."""
    same = [each for each in earlier if each.run == now.run and SINCE_BOOT in each.values]
    same = [each for each in same if each.values[SINCE_BOOT] < now.values[SINCE_BOOT]]
    return max(same, key=lambda each: each.values[SINCE_BOOT], default=None)


def passed_s(before: Sample, now: Sample) -> float:
    """How much later *now* was, by the clock that nobody sets."""
    return now.values[SINCE_BOOT] - before.values[SINCE_BOOT]


def judge_since(before: Sample | None, now: Sample, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """What happened since the diagnosis before, on this boot."""
    if before is None:
        return ()
    since_s = passed_s(before, now)
    ago = f"in the last {span(since_s)}"
    kills = _gained(before, now, KILLS) if since_s <= _NEWS_OF_KILLS_S else 0
    turned_away = _gained(before, now, TURNED_AWAY) if since_s <= _NEWS_OF_QUEUES_S else 0
    return (
        *over(
            "memory.oom_kill",
            policy.out_of_memory,
            kills,
            f"the kernel killed {{seen}} processes for want of memory {ago}",
            about="memory",
            advice=(
                "journalctl -k --grep 'Out of memory|oom-kill'   # who was killed, and who held the memory",
            ),
        ),
        *(full_queues(turned_away, ago, policy=policy) if turned_away else ()),
        *judge_jump(before, now, policy=policy),
    )


def judge_turned(earlier: Sequence[Sample], now: Sample, every: Sequence[Mount]) -> tuple[Finding, ...]:
    """
    Which file systems take no writes that took some within the last day of this boot.

    The kernel turns one read-only after errors of its disk; a person does that as well, and then knows.
    """
    of_late = {
        name.removeprefix(USED_OF)
        for each in earlier
        if each.run == now.run and SINCE_BOOT in each.values and 0 <= passed_s(each, now) <= _DAY_S
        for name in each.values
        if name.startswith(USED_OF)
    }
    findings: tuple[Finding, ...] = ()
    for each in every:
        if each.is_read_only and each.folder in of_late:
            findings += fact(
                "disk.read_only",
                Severity.ERROR,
                f"{each.folder} takes no writes any more; an earlier diagnosis of this boot saw that it did",
                about=each.folder,
                evidence=(
                    Evidence(what="options", seen=", ".join(sorted(each.options)) or "ro", limit="rw"),
                    Evidence(what="file system", seen=f"{each.kind} on {each.device}"),
                ),
                advice=(
                    f"dmesg -T | grep -i {each.device.rpartition('/')[2]}   # why; then check the disk first",
                    f"mount -o remount,rw {each.path}   # if nothing is wrong with it",
                ),
            )
    return findings


def _gained(before: Sample, now: Sample, name: str) -> int:
    if name not in before.values or name not in now.values:
        return 0
    return int(max(0.0, now.values[name] - before.values[name]))


def judge_jump(before: Sample, now: Sample, *, policy: HostPolicy = POLICY) -> tuple[Finding, ...]:
    """Whether the clock was set since: it went another way than the time since the boot."""
    since_s = passed_s(before, now)
    jump_s = now.values[WALL] - before.values.get(WALL, now.values[WALL] - since_s) - since_s
    beyond_s = max(0.0, abs(jump_s) - since_s * _MOST_SLEWED)
    return over(
        "clock.jumped",
        policy.clock_jump,
        beyond_s,
        f"the clock was set {'forward' if jump_s > 0 else 'back'} by {{seen}} since the last diagnosis",
        about="clock",
        advice=("journalctl -u chrony -u systemd-timesyncd   # who set it",),
        also=(Evidence(what="last diagnosis before that, by the clock of then", seen=moment(before.at)),),
    )


def judge_filling(
    samples: Sequence[Sample], fills: Mapping[str, Fill], *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Which file systems will be full soon if they go on as they did.

    Args:
        samples: The oldest first, of any boot.
        fills: How full each file system is now.
        policy: From where on it is worth a word.
    """
    findings: list[Finding] = []
    for folder, fill in fills.items():
        name = f"{USED_OF}{folder}"
        series = [(each.at.timestamp(), each.values[name]) for each in samples if name in each.values]
        day = [pair for pair in series if series and series[-1][0] - pair[0] <= _DAY_S]
        for each in (series, day):
            found = _filling(folder, fill, each, policy=policy)
            if found:
                findings += found
                break
    return tuple(findings)


def _filling(
    folder: str, fill: Fill, series: Sequence[tuple[float, float]], *, policy: HostPolicy = POLICY
) -> tuple[Finding, ...]:
    growth = growth_of([at for at, _ in series], [used for _, used in series])
    if growth is None or growth.shape is not Shape.GROWS or growth.least_per_s <= 0:
        return ()
    latest_s, soonest_s = fill.free_bytes / growth.least_per_s, fill.free_bytes / growth.most_per_s
    if latest_s > _BELIEVED * growth.span_s:
        return ()
    return over(
        "disk.filling",
        policy.filling,
        latest_s / _DAY_S,
        f"{folder} will be full in {_between(soonest_s, latest_s)} if it goes on",
        about=folder,
        advice=(f"du -xh --max-depth=2 {folder} | sort -h | tail   # what takes it, and twice, what grows",),
        also=(
            Evidence(
                what="grows each hour, with its interval",
                seen=f"{size(growth.per_s * _HOUR_S)} "
                f"({size(growth.least_per_s * _HOUR_S)} to {size(growth.most_per_s * _HOUR_S)})",
            ),
            Evidence(what="watched for", seen=f"{span(growth.span_s)}, {growth.values} diagnoses"),
            Evidence(what="free for programs", seen=size(fill.free_bytes)),
        ),
    )


def _between(soonest_s: float, latest_s: float) -> str:
    day = timedelta(days=1).total_seconds()
    if latest_s >= 2 * day:
        return f"{soonest_s / day:.1f} to {latest_s / day:.1f} days"
    return f"{span(soonest_s)} to {span(latest_s)}"
