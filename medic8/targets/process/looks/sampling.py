"""What is kept of a process over months, so that what grows slowly can be seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from medic8.model.recovery import Owner
from medic8.model.sample import Sample
from medic8.targets.process.living import Living
from medic8.targets.process.looks.family import family_of, summed
from medic8.targets.process.looks.looking import if_told

MEMORY, DESCRIPTORS, THREADS, AGE = "memory", "descriptors", "threads", "age"

#: How many processes descend from it and have not ended.
CHILDREN = "children"

#: How many different processes all samples until then were of.
STARTS = "starts"


def run_of(identity: Owner) -> str:
    """Which run of the program a process is."""
    return f"{identity.boot}/{identity.pid_namespace}/{identity.pid}/{identity.started_at}"


def sample_of(process: Living, at: datetime, age_s: float) -> Sample:
    """
    What a process and its descendants take; of memory what is their own and not of files.

    Many programs work in children, and those leak; the kernel takes pages of files back by itself. What may
    not be seen is left out. Source: proc_pid_status(5), RssAnon, RssShmem and VmSwap.

    Raises:
        GoneError: it has ended.
    """
    values = {AGE: age_s}
    with family_of(process) as family:
        values[CHILDREN] = float(len(family) - 1)
        for name, read in _READ.items():
            with if_told():
                values[name] = float(summed(family, read))
    return Sample(at=at, run=run_of(process.identity), values=values)


def own_memory(process: Living) -> int:
    """Bytes of memory that are of no file, resident or in swap; raises as `Living.read` does."""
    told = process.status()
    return int(sum(told.number(name) or 0 for name in ("RssAnon", "RssShmem", "VmSwap"))) << 10


def count_descriptors(process: Living) -> int:
    """How many descriptors it has open; raises as `Living.read` does."""
    # Since Linux 6.2 the folder's size tells; before it is 0.
    return process.size_of("fd") or len(process.names("fd"))


_READ: Mapping[str, Callable[[Living], int]] = {
    MEMORY: own_memory,
    THREADS: lambda process: process.stat().threads,
    DESCRIPTORS: count_descriptors,
}


def counted_on(last: Sample | None, sample: Sample) -> Sample:
    """*sample* with how many different processes were seen with it and before, by the sample *last* kept."""
    starts = 1.0 if last is None else last.values.get(STARTS, 1.0) + (last.run != sample.run)
    return sample.model_copy(update={"values": {**sample.values, STARTS: starts}})
