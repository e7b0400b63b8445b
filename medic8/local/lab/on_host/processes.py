"""Faults and healthy states of a process, of a program of the lab's own under a supervisor of its own."""

from __future__ import annotations

import random
from collections.abc import Callable

from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Fault, Harm, State

_RESTART = "restart_process"

Make = Callable[[Bench, random.Random, int], tuple[Harm, ...]]


def _does(*styles: str) -> Make:
    """Have the program do one of *styles*, which chance chooses; see `medic8.local.lab.acting.subject`."""

    def make(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
        return bench.start("program", amount=strength, style=rng.choice(styles))

    return make


FAULTS = (
    Fault(
        "leaking_process",
        "a process takes ever more memory: evenly, in steps or in bursts",
        "MiB a second",
        4,
        _RESTART,
        _does("linear", "steps", "bursts"),
        "process",
        most=50,
    ),
    Fault(
        "descriptor_leak",
        "a process opens and never closes",
        "descriptors a second",
        20,
        _RESTART,
        _does("descriptors"),
        "process",
        most=200,
    ),
    Fault(
        "thread_leak",
        "a process starts threads that never end",
        "threads a second",
        10,
        _RESTART,
        _does("threads"),
        "process",
        most=50,
    ),
    Fault(
        "zombies",
        "a process does not wait for its children",
        "children a second",
        10,
        _RESTART,
        _does("zombies"),
        "process",
        most=50,
    ),
    Fault(
        "cpu_hog",
        "a process leaves nothing of the processors to others",
        "threads",
        8,
        "weigh_down",
        _does("hog"),
        "process",
        most=64,
    ),
    Fault(
        "restart_loop",
        "a process ends as soon as it is started, and is started again",
        "1",
        1,
        "",
        _does("loop"),
        "process",
        "look into its log for why it ends",
        1,
    ),
)

STATES = (
    State(
        "sawtooth_memory",
        "a process takes memory and gives it back, as with a garbage collector",
        "MiB",
        40,
        "a leak",
        _does("sawtooth"),
        200,
        "process",
    ),
    State(
        "warming_process",
        "a process fills its memory after its start, and then takes no more",
        "MiB",
        20,
        "a leak",
        _does("warming"),
        200,
        "process",
    ),
    State(
        "page_cache",
        "a process writes and reads files, which the kernel keeps in memory, up to its group's limit",
        "MiB",
        50,
        "a leak",
        _does("page_cache"),
        200,
        "process",
    ),
    State(
        "planned_restart",
        "a process was restarted once",
        "1",
        1,
        "a process that ends again and again",
        _does("restart"),
        1,
        "process",
    ),
    State(
        "log_rotation",
        "a process opens its log anew after each rotation",
        "rotations a second",
        2,
        "deleted files that are kept",
        _does("rotation"),
        20,
        "process",
    ),
)
