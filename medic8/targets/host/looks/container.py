"""Whether this machine is a container, and what its control group allows."""

from __future__ import annotations

import os
from typing import NamedTuple

from medic8.model.report import DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.host.looks.looking import here, result
from medic8.targets.kind import Surroundings
from medic8.targets.machine.cgroup import GroupMemory, groups_of, memory_in
from medic8.targets.machine.files import Machine, whole

#: What the first process has, which in a container is the container.
_FIRST = 1


class Processors(NamedTuple):
    """
    How much processor there is.

    Attributes:
        online: Processors that the kernel runs.
        allowed: What the control group allows of them; the same where nothing limits it.
    """

    online: int
    allowed: float


def look_at_machine(target: Target, around: Surroundings) -> DiagnosticResult:
    """Which host this is; what a container cannot see of its host is said."""
    machine = here(target)
    container = container_in(machine)
    if container:
        machine.unseen.append(
            f"the host around this {container} container: processors, disks, pressure and kernel tables may "
            "be those of the host, which others use too; limits are those of the container"
        )
    cpus, memory = processors_of(machine), memory_of(machine)
    readings = (
        reading("host.name", os.uname().nodename),
        reading("host.kernel", os.uname().release),
        reading("host.container", container or "none"),
        reading("host.processors", cpus.online, "count"),
        reading("host.processors_allowed", round(cpus.allowed, 2), "count"),
        reading("host.memory_limit", memory.limit if memory else None, "bytes"),
        reading("host.uptime", machine.decimal("proc/uptime"), "seconds"),
    )
    return result("machine", around, machine, readings)


def container_in(machine: Machine) -> str:
    """What kind of container this is; empty for none that tells. Source: systemd, Container Interface."""
    named = (machine.text("run/systemd/container") or "").strip()
    if named:
        return named
    if machine.path(".dockerenv").exists():
        return "docker"
    if machine.path("run/.containerenv").exists():
        return "podman"
    words = (machine.text("proc/1/environ") or "").split("\0")
    return next((word.removeprefix("container=") for word in words if word.startswith("container=")), "")


def processors_of(machine: Machine) -> Processors:
    """Processors by /proc/stat, and what cpu.max (or cpu.cfs_quota_us) of the control groups allows."""
    names = [line.split(" ", 1)[0] for line in machine.lines("proc/stat")]
    count = sum(name.startswith("cpu") and name != "cpu" for name in names) or os.cpu_count() or 1
    allowed = float(count)
    for group in groups_of(_FIRST, "cpu", proc=machine.path("proc"), groups=machine.path("sys/fs/cgroup")):
        folder = Machine(group.folder)
        quota, period = (
            [*(folder.text("cpu.max") or "").split(), "", ""][:2]
            if group.is_second
            else (folder.text("cpu.cfs_quota_us") or "", folder.text("cpu.cfs_period_us") or "")
        )
        most, each = whole(quota), whole(period)
        if most is not None and most > 0 and each:
            allowed = min(allowed, most / each)
    return Processors(count, allowed)


def memory_of(machine: Machine) -> GroupMemory | None:
    """The tightest memory limit of the control groups; None if none is less than the machine has."""
    total = machine.numbers("proc/meminfo").get("MemTotal", 0) * 1024
    groups = groups_of(_FIRST, "memory", proc=machine.path("proc"), groups=machine.path("sys/fs/cgroup"))
    limits = [found for group in groups if (found := memory_in(group)) is not None and found.limit < total]
    return min(limits, key=lambda each: each.left, default=None)
