"""Every threshold that the diagnostics of a host hold a value against, with its source."""

from __future__ import annotations

from collections.abc import Iterator

from medic8.analysis.threshold import Threshold, set_by
from medic8.model.frozen import Frozen
from medic8.model.target import Target

_OURS = "our choice"
_USE = "B. Gregg, The USE Method, Linux checklist"
_PSI = "Linux documentation, PSI (Pressure Stall Information): share of the time that work stood still"
_SYSCTL = "Linux documentation, admin-guide/sysctl"


class HostPolicy(Frozen):
    """Limits for judging a host, each a `Threshold` with its source."""

    processor: Threshold = Threshold(
        what="time of the last minute that work waited for a processor (PSI some), if 80% of the processors' "
        "time goes to what is not nice",
        warning=0.4,
        error=0.8,
        unit="share",
        source=f"{_PSI}; {_USE}, CPU saturation; the limits are {_OURS}",
    )
    run_queue: Threshold = Threshold(
        what="runnable threads for each processor, where the kernel tells no pressure and the load of five "
        "minutes is as high",
        warning=2,
        error=4,
        unit="ratio",
        source=f"{_USE}, CPU saturation: more than there are CPUs; the limits are {_OURS}",
    )
    steal: Threshold = Threshold(
        what="time that the hypervisor gave to others, in both halves of the watch",
        warning=0.1,
        error=0.3,
        unit="share",
        source=f"Linux documentation, filesystems/proc, steal; the limits are {_OURS}",
    )
    throttled: Threshold = Threshold(
        what="periods in which a control group had used up its processor time, of at least five",
        warning=0.25,
        error=0.75,
        unit="share",
        source=f"Linux documentation, admin-guide/cgroup-v2, cpu.stat; the limits are {_OURS}",
    )
    available: Threshold = Threshold(
        what="memory available without swapping, if it is less than 4 GiB",
        warning=0.05,
        error=0.02,
        unit="share",
        is_floor=True,
        source="Linux documentation, filesystems/proc, MemAvailable: page cache is given back; the limits "
        f"are {_OURS}",
    )
    memory_pressure: Threshold = Threshold(
        what="time of the last minute that all work stood still for memory (PSI full)",
        warning=0.05,
        error=0.2,
        unit="share",
        source=f"{_PSI}; systemd-oomd kills at 60%; the limits are {_OURS}",
    )
    swapped_in: Threshold = Threshold(
        what="memory read back from swap each second, in both halves of the watch",
        warning=1 << 20,
        error=50 << 20,
        unit="bytes",
        source=f"{_USE}, memory saturation; the limits are {_OURS}",
    )
    committed: Threshold = Threshold(
        what="memory promised of what may be promised, where vm.overcommit_memory is 2",
        warning=0.9,
        error=0.98,
        unit="share",
        source=f"Linux documentation, mm/overcommit-accounting; the limits are {_OURS}",
    )
    out_of_memory: Threshold = Threshold(
        what="processes that the kernel killed for want of memory since the diagnosis before, a day at most",
        warning=1,
        error=1,
        unit="count",
        source=f"{_USE}, memory errors: one is one too many",
    )
    space: Threshold = Threshold(
        what="space used of a file system that can be written, if less than 20 GiB are free",
        warning=0.9,
        error=0.97,
        unit="share",
        source=f"{_USE}, storage capacity; the limits are {_OURS}",
    )
    inodes: Threshold = Threshold(
        what="inodes used of a file system that can be written",
        warning=0.9,
        error=0.97,
        unit="share",
        source=f"{_USE}, storage capacity; the limits are {_OURS}",
    )
    filling: Threshold = Threshold(
        what="days until a file system is full, at the slow end of the trend's interval",
        warning=3,
        error=0.5,
        unit="days",
        is_floor=True,
        source="slope's interval (P. K. Sen 1968), seen for a quarter of that time at least; the limits are "
        f"{_OURS}",
    )
    crowded: Threshold = Threshold(
        what="space or inodes used, from where on files that the configuration names go into quarantine",
        warning=0.8,
        unit="share",
        source=f"{_OURS}: quarantine frees nothing before its time is over, so it begins before it is urgent",
    )
    slow_disk: Threshold = Threshold(
        what="time that reads and writes of a disk take on average, if it is busy 90% and work waits for it",
        warning=0.1,
        error=1.0,
        unit="seconds",
        source=f"{_USE}, storage I/O saturation; iostat(1), await; the limits are {_OURS}",
    )
    disk_errors: Threshold = Threshold(
        what="errors that a file system has noted on its disk",
        warning=1,
        error=1,
        unit="count",
        source=f"Linux documentation, ABI/testing/sysfs-fs-ext4, errors_count; {_USE}, errors",
    )
    link_errors: Threshold = Threshold(
        what="packets of an interface with errors, of all while we looked, 10 at least",
        warning=0.001,
        error=0.01,
        unit="share",
        source=f"{_USE}, network interface errors; the limits are {_OURS}",
    )
    resent: Threshold = Threshold(
        what="TCP segments sent again of all that were sent while we looked, 20 at least",
        warning=0.02,
        error=0.1,
        unit="share",
        source=f"{_USE}, network saturation: retransmits; the limits are {_OURS}",
    )
    turned_away: Threshold = Threshold(
        what="connections that full accept queues turned away while we looked, or since the diagnosis an "
        "hour before at most",
        warning=1,
        error=100,
        unit="count",
        source=f"Linux documentation, networking/snmp_counter, ListenOverflows; the limits are {_OURS}",
    )
    half_closed: Threshold = Threshold(
        what="connections of one program that the other end has closed and it has not, for half a second",
        warning=50,
        error=500,
        unit="count",
        source=f"RFC 9293, section 3.6: CLOSE-WAIT lasts until the program closes; the limits are {_OURS}",
    )
    conntrack: Threshold = Threshold(
        what="tracked connections of those that may be tracked",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"Linux documentation, networking/nf_conntrack-sysctl; the limits are {_OURS}",
    )
    ephemeral_ports: Threshold = Threshold(
        what="ephemeral ports that connections to one address and port take",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"Linux documentation, networking/ip-sysctl, ip_local_port_range; the limits are {_OURS}",
    )
    time_wait: Threshold = Threshold(
        what="closed connections that wait for late packets, of tcp_max_tw_buckets",
        warning=0.9,
        unit="share",
        source=f"Linux documentation, networking/ip-sysctl, tcp_max_tw_buckets; the limit is {_OURS}",
    )
    files: Threshold = Threshold(
        what="open files of fs.file-max",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"{_SYSCTL}/fs, file-nr; the limits are {_OURS}",
    )
    threads: Threshold = Threshold(
        what="threads of the least of kernel.pid_max, kernel.threads-max and pids.max of the control group",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"{_SYSCTL}/kernel; the limits are {_OURS}",
    )
    descriptors: Threshold = Threshold(
        what="open descriptors of one program, of its limit (RLIMIT_NOFILE) if that is 64 or more",
        warning=0.8,
        error=0.95,
        unit="share",
        source=f"getrlimit(2): beyond it nothing can be opened; the limits are {_OURS}",
    )
    left_children: Threshold = Threshold(
        what="children of one program that have ended and are not waited for, for half a second",
        warning=50,
        error=1000,
        unit="count",
        source=f"waitpid(2), Notes: each takes a place in the kernel's table; the limits are {_OURS}",
    )
    clock_jump: Threshold = Threshold(
        what="how far the clock was set since the diagnosis before, against the time since the boot",
        warning=2,
        error=60,
        unit="seconds",
        source=f"adjtimex(2): a clock that is only slewed gains 0.5 ms a second; the limits are {_OURS}",
    )

    def named(self) -> Iterator[tuple[str, Threshold]]:
        """Every threshold by its name."""
        for name in type(self).model_fields:
            yield name, getattr(self, name)


POLICY = HostPolicy()


def policy_of(target: Target) -> HostPolicy:
    """The limits for judging *target*: ours, but for those that its configuration sets."""
    return set_by(POLICY, target.threshold)


#: With so much memory available, a small share of it is no want.
ENOUGH_MEMORY_BYTES = 4 << 30

#: A file system that is less full than this has time, however fast it fills up while it is watched.
LEAST_FILLED = 2 / 3

#: With so much space free, a large share that is used is no want.
ENOUGH_SPACE_BYTES = 20 << 30
