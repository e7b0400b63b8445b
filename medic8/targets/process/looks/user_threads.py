"""The limit of processes and threads that its user may have: beyond it, none can be started."""

from __future__ import annotations

import os

from medic8.analysis.judging import over, share
from medic8.model.issue import Evidence, Finding
from medic8.targets.process.living import GoneError, Living, UntoldError, all_pids, lines_of, living
from medic8.targets.process.looks.limits import limits_of
from medic8.targets.process.policy import POLICY, ProcessPolicy

#: Who has CAP_SYS_RESOURCE or CAP_SYS_ADMIN is not held to it. Source: Linux, kernel/fork.c; capabilities(7).
_FREE_OF_IT = 1 << 24 | 1 << 21


def threads_of_user(process: Living) -> tuple[int, int] | None:
    """
    How many threads its real user has on this host, and may have; None where it is held to no such limit.

    Raises as `Living.read` does.
    """
    most, status = limits_of(process).get("Max processes"), process.status()
    words = status.get("Uid", "").split()
    if most is None or not words or words[0] == "0" or int(status.get("CapEff", "0"), 16) & _FREE_OF_IT:
        return None
    return sum(_threads_of(pid, words[0]) for pid in all_pids()), int(most)


def _threads_of(pid: int, user: str) -> int:
    try:
        # Whose a folder is costs a fraction of reading what is in it. Root's are also those of whom only root
        # may know much, such as who was root before.
        if str(os.stat(f"/proc/{pid}").st_uid) not in {"0", user}:  # noqa: PTH116 - thousands
            return 0
        with living(pid) as other:
            status = lines_of(other.read("status"))
    except (GoneError, UntoldError, OSError):
        return 0
    return (status.whole("Threads") or 0) if status.get("Uid", "").split()[:1] == [user] else 0


def judge_user_threads(
    counted: tuple[int, int] | None, own: int, *, policy: ProcessPolicy = POLICY
) -> tuple[Finding, ...]:
    """
    Whether its user may soon start nothing any more, whatever has the threads.

    Args:
        counted: What `threads_of_user` tells.
        own: How many threads the process itself has.
        policy: What to hold it against.
    """
    if counted is None:
        return ()
    used, most = counted
    return over(
        "activity.user_threads",
        policy.user_threads,
        share(used, most),
        f"its user has {used:,} threads and processes, {{seen}} of the limit that it was started with "
        "(ulimit -u)",
        about="threads",
        also=(Evidence(what="threads of its own", seen=f"{own:,}"),),
        advice=(
            "LimitNPROC= of its unit or /etc/security/limits.d raises the limit, for what is started then",
            "ps -eLo user,pid,comm | sort | uniq -c | sort -n | tail   # who has the threads",
        ),
    )
