"""Programs of a host that are no target of their own: out of descriptors, with children left behind."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.accuracy.variant import Answer, Cause, Stage, Variant
from benchmarks.accuracy.variants.opened_aside_means import number, started, told, waits_for

_OPENS = """
import resource, sys, time
most, count = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
kept = [open(__file__) for _ in range(count)]
print("there", flush=True)
time.sleep(3600)
"""

_LEAVES_CHILDREN = """
import os, sys, time
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        os._exit(0)
print("there", flush=True)
time.sleep(3600)
"""

_COLLECTS_LATE = """
import os, sys, time
print("there", flush=True)
while True:
    children = []
    for _ in range(int(sys.argv[1])):
        child = os.fork()
        if child == 0:
            os._exit(0)
        children.append(child)
    time.sleep(0.2)
    for child in children:
        os.waitpid(child, 0)
    time.sleep(0.3)
"""


def _opens(share: int) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        most = stage.strength * 10
        started(stage, _OPENS, str(most), str(most * share // 100 - 4))
        return ""

    return break_it


def _are_opened(stage: Stage) -> bool:
    return len(list(Path(f"/proc/{number(stage)}/fd").iterdir())) > stage.strength


def _starts(source: str) -> Callable[[Stage], str]:
    def break_it(stage: Stage) -> str:
        started(stage, source, str(stage.strength))
        return ""

    return break_it


def _children(stage: Stage) -> int:
    """How many of its children have ended and wait for it."""
    pid = number(stage)
    count = 0
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        stat = Path(f"/proc/{child}/stat")
        count += stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"
    return count


def _are_left(stage: Stage) -> bool:
    return waits_for(lambda: _children(stage) >= stage.strength, 10)


def _runs(stage: Stage) -> bool:
    time.sleep(0.1)
    return Path(f"/proc/{number(stage)}").exists()


VARIANTS = (
    Variant(
        "field_exporter_opens_all_it_may",
        "host",
        (8, 100),
        told(Answer.RESOURCE_EXHAUSTION, Cause.DESCRIPTOR_LIMIT, also_cause=(Cause.DESCRIPTOR_LEAK,)),
        _opens(97),
        _are_opened,
    ),
    Variant(
        "field_dispatcher_forgets_children",
        "host",
        (70, 400),
        told(Answer.RESOURCE_EXHAUSTION, Cause.ZOMBIES, also_answer=(Answer.MEMORY_LEAK,)),
        _starts(_LEAVES_CHILDREN),
        _are_left,
    ),
    Variant(
        "field_half_of_its_descriptors",
        "host",
        (10, 100),
        told(Answer.NONE),
        _opens(55),
        _are_opened,
        is_healthy=True,
    ),
    Variant(
        "field_collects_children_late",
        "host",
        (60, 120),
        told(Answer.NONE),
        _starts(_COLLECTS_LATE),
        _runs,
        is_healthy=True,
    ),
)
