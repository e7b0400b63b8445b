"""The processes that a process has started, and those have started in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from medic8.targets.process.living import GoneError, Living, UntoldError, all_pids, living, parse_stat

#: Of more threads, and of more descendants, the rest is not looked at.
MOST_THREADS = 512
_MOST_DESCENDANTS = 256


def children_of(process: Living) -> list[int]:
    """The numbers of its children; raises as `Living.read` does."""
    try:
        found = []
        for name in process.names("task")[:MOST_THREADS]:
            found += [int(pid) for pid in process.read(f"task/{name}/children").split()]
    except UntoldError:  # a kernel without CONFIG_PROC_CHILDREN
        return [pid for pid in all_pids() if _parent_of(pid) == process.pid]
    return found


def _parent_of(pid: int) -> int | None:
    try:
        return parse_stat(Path(f"/proc/{pid}/stat").read_bytes()).parent
    except OSError:
        return None


def descendants_of(process: Living) -> list[int]:
    """The numbers of its children, of theirs, and so on; raises as `Living.read` does."""
    found = children_of(process)
    for pid in found:  # which grows meanwhile
        if len(found) >= _MOST_DESCENDANTS:
            break
        with contextlib.suppress(GoneError, UntoldError), living(pid) as child:
            found += children_of(child)
    return found[:_MOST_DESCENDANTS]


@contextlib.contextmanager
def family_of(process: Living) -> Iterator[list[Living]]:
    """
    Get *process* and its descendants for reading; those that end meanwhile tell nothing.

    Raises:
        GoneError: the process itself has ended.
    """
    with contextlib.ExitStack() as stack:
        members = [process]
        try:
            pids = descendants_of(process)
        except UntoldError:
            pids = []
        for pid in pids:
            with contextlib.suppress(GoneError, UntoldError):
                members.append(stack.enter_context(living(pid)))
        yield members


def summed(family: Sequence[Living], read: Callable[[Living], int]) -> int:
    """
    What *read* tells of all of a family; a descendant that has ended or does not tell counts nothing.

    Raises:
        GoneError: the process itself has ended.
        UntoldError: it does not tell.
    """
    found = read(family[0])
    for child in family[1:]:
        with contextlib.suppress(GoneError, UntoldError):
            found += read(child)
    return found
