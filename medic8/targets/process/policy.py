"""Every threshold that the diagnostics of a process hold a value against, with its source."""

from __future__ import annotations

from collections.abc import Iterator

from medic8.analysis.threshold import Threshold, set_by
from medic8.model.frozen import Frozen
from medic8.model.target import Target

_OURS = "our choice"
_CGROUP = "Linux, admin-guide/cgroup-v2.rst"


class ProcessPolicy(Frozen):
    """Limits for judging a process, each a `Threshold` with its source."""

    starts: Threshold = Threshold(
        what="starts within 10 minutes",
        warning=3,
        error=6,
        unit="count",
        source=f"Supervisor documentation, startretries=3: then it gives up; the limits are {_OURS}",
    )
    host_memory: Threshold = Threshold(
        what="resident memory, without that of files, and swap, of the host's memory",
        warning=0.75,
        error=0.9,
        unit="share",
        source=f"the limits are {_OURS}, as for a server",
    )
    group_memory: Threshold = Threshold(
        what="memory of the control group, without files that nobody uses, of its limit",
        warning=0.9,
        error=0.97,
        unit="share",
        source=f"{_CGROUP}, memory.max: beyond it processes are killed; the limits are {_OURS}",
    )
    address_space: Threshold = Threshold(
        what="address space of its limit (RLIMIT_AS)",
        warning=0.9,
        error=0.97,
        unit="share",
        source=f"getrlimit(2): beyond it no memory is given; the limits are {_OURS}",
    )
    swapped: Threshold = Threshold(
        what="memory in swap, of resident memory and swap, above 64 MiB",
        warning=0.5,
        unit="share",
        source=f"proc_pid_status(5), VmSwap; the limit is {_OURS}",
    )
    descriptors: Threshold = Threshold(
        what="open descriptors of their limit (RLIMIT_NOFILE)",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"getrlimit(2): beyond it nothing can be opened; the limits are {_OURS}",
    )
    half_closed: Threshold = Threshold(
        what="connections that the other end has closed and the process has not, for half a second",
        warning=50,
        error=500,
        unit="count",
        source=f"RFC 9293, section 3.6: CLOSE-WAIT lasts until the program closes; the limits are {_OURS}",
    )
    deleted_bytes: Threshold = Threshold(
        what="room of the disk that deleted files take, since they are still open",
        warning=16 << 20,
        error=10 << 30,
        unit="bytes",
        source=f"unlink(2): a file's room is free when nobody has it open; the limits are {_OURS}",
    )
    group_pids: Threshold = Threshold(
        what="threads and processes of the control group, of its limit",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"{_CGROUP}, pids.max: beyond it none can be started; the limits are {_OURS}",
    )
    user_threads: Threshold = Threshold(
        what="threads and processes of its user, of the limit that it was started with",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"getrlimit(2), RLIMIT_NPROC: beyond it none can be started; the limits are {_OURS}",
    )
    stuck: Threshold = Threshold(
        what="threads that waited in the kernel, uninterruptibly, for all of the look and did nothing else",
        warning=1,
        unit="count",
        source=f"proc_pid_stat(5), state D; for all of a second is {_OURS}",
    )
    zombies: Threshold = Threshold(
        what="children that have ended and are not waited for",
        warning=5,
        error=100,
        unit="count",
        source=f"waitpid(2), Notes: each takes a place in the kernel's table; the limits are {_OURS}",
    )
    processor: Threshold = Threshold(
        what="time of all the host's processors, while less than 5 % of it is left to anybody",
        warning=0.6,
        error=0.9,
        unit="share",
        source=f"proc_stat(5); the limits are {_OURS}",
    )
    spinning: Threshold = Threshold(
        what="processors that it keeps busy with system calls by which nothing moves, without ever waiting",
        warning=0.5,
        unit="count",
        source="epoll(7): who does not take what it is told of is told of it again at once; the limit is "
        f"{_OURS}",
    )
    disk: Threshold = Threshold(
        what="bytes of all disks of the host, while programs wait for them a fifth of the time or more",
        warning=0.6,
        error=0.9,
        unit="share",
        source=f"Linux, accounting/psi.rst, io some; the limits are {_OURS}",
    )
    throttled: Threshold = Threshold(
        what="periods in which the processor was withheld, since the quota was used up",
        warning=0.25,
        error=0.75,
        unit="share",
        source=f"{_CGROUP}, cpu.stat; the limits are {_OURS}",
    )
    leak: Threshold = Threshold(
        what="growth of memory over the time looked at, at least, if it is 1 MiB or more",
        warning=0.05,
        unit="share",
        source=f"lower end of the slope's interval (P. K. Sen 1968); the limit is {_OURS}",
    )
    descriptor_leak: Threshold = Threshold(
        what="growth of open descriptors over the time looked at, at least",
        warning=16,
        unit="count",
        source=f"lower end of the slope's interval (P. K. Sen 1968); the limit is {_OURS}",
    )
    thread_leak: Threshold = Threshold(
        what="growth of threads over the time looked at, at least",
        warning=8,
        unit="count",
        source=f"lower end of the slope's interval (P. K. Sen 1968); the limit is {_OURS}",
    )
    child_leak: Threshold = Threshold(
        what="growth of processes that descend from it and have not ended, over the time looked at, at least",
        warning=8,
        unit="count",
        source=f"lower end of the slope's interval (P. K. Sen 1968); the limit is {_OURS}",
    )
    log_fills: Threshold = Threshold(
        what="days until a log that nobody rotates has filled its file system, if it grows on as it did "
        "while it was watched",
        warning=3,
        error=0.5,
        unit="days",
        is_floor=True,
        source="lower end of the slope's interval (P. K. Sen 1968), as of a host's file systems; the limits "
        f"are {_OURS}",
    )
    backup_age: Threshold = Threshold(
        what="age of the newest complete backup of its data",
        warning=86_400,
        unit="seconds",
        source=f"a restart may lose what came after it; the limit is {_OURS}",
    )

    def named(self) -> Iterator[tuple[str, Threshold]]:
        """Every threshold by its name."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)


POLICY = ProcessPolicy()


def policy_of(target: Target) -> ProcessPolicy:
    """The limits for judging *target*: ours, but for those that its configuration sets."""
    return set_by(POLICY, target.threshold)


#: Less growth of memory than this is no leak, however small the process.
LEAST_LEAK_BYTES = 1 << 20

#: A log that grew by less while it was watched is none to speak of.
LEAST_LOG_BYTES = 256 << 10

#: Less in swap than this is what nobody has used since the start.
LEAST_SWAP_BYTES = 64 << 20

#: So little of the host's processors is left while a hog counts as one.
LEAST_IDLE = 0.05

#: While programs wait for disks for such a share of the time, a hog of them counts as one.
LEAST_WAITING = 0.2

#: Programs whose restart may lose data, by the name of what they run.
DATA_SERVERS = frozenset(
    {
        "cassandra",
        "clickhouse-server",
        "etcd",
        "influxd",
        "mariadbd",
        "memcached",
        "mongod",
        "mysqld",
        "postgres",
        "redis-sentinel",
        "redis-server",
        "valkey-sentinel",
        "valkey-server",
    }
)
