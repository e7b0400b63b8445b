"""Find the process that a target names, and be sure that it is that one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from medic8.errors import RefusedError, UnreachableError
from medic8.model.recovery import Owner
from medic8.model.target import ProcessCare, Target
from medic8.owner import machine_id
from medic8.targets.claim_file import boot_clock
from medic8.targets.process.keepers.commands import Commands
from medic8.targets.process.keepers.keeper import Keeper, Kept
from medic8.targets.process.keepers.supervisord import Supervisord
from medic8.targets.process.keepers.systemd import Systemd
from medic8.targets.process.living import GoneError, Living, UntoldError, living
from medic8.targets.process.naming import CommandLine, PidFile, Supervised, Unit, name_of

#: By so much the age that a keeper tells may differ from the process's own: the wall clock may have been set.
_SLACK_S = 60.0

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def care_of(target: Target) -> ProcessCare:
    """What is configured of the process; the defaults if nothing is."""
    return target.process or ProcessCare()


def keeper_of(target: Target) -> Keeper:
    """Who starts and stops the process."""
    match name_of(target.address):
        case Supervised() as program:
            return Supervisord(program, timeout_s=target.timeout_s)
        case Unit() as unit:
            return Systemd(unit, timeout_s=target.timeout_s)
        case PidFile() | CommandLine() as name:
            return Commands(name, care_of(target), timeout_s=target.timeout_s)


def called(target: Target) -> str:
    """The process for people; without credentials."""
    return name_of(target.address).in_words


def program_of(target: Target) -> str:
    """The name under which the process is known on this machine, whichever process it is at the moment."""
    return f"program:{machine_id()}/{called(target)}"


def identity_in_words(identity: Owner | None) -> str:
    """Who a process is, in one word for each part."""
    if identity is None:
        return "none"
    return "/".join(
        (
            identity.machine,
            identity.boot,
            identity.pid_namespace,
            str(identity.pid),
            str(identity.started_at),
        )
    )


def age_s(identity: Owner) -> float:
    """For how long a process has run."""
    return max(0.0, boot_clock() - identity.started_at / CLOCK_TICKS)


@contextlib.contextmanager
def process_of_keeper(kept: Kept, what: str) -> Iterator[Living]:
    """
    Get the process that its keeper names, for reading.

    Raises:
        GoneError: there is none.
        UnreachableError: it is not the one that the keeper means, or nothing is told of it.
    """
    if kept.pid is None:
        raise GoneError(f"{what} does not run: {kept.says}")
    try:
        with living(kept.pid) as process:
            _require_it_is_meant(process, kept, what)
            yield process
    except UntoldError as exc:
        raise UnreachableError(f"{what}: {exc}") from exc


@contextlib.contextmanager
def process_of_target(target: Target) -> Iterator[tuple[Living, Kept]]:
    """
    Get the process of *target*, and what its keeper says.

    Raises:
        GoneError: it does not run.
        UnreachableError: its keeper does not answer, or it cannot be told which process it is.
        TransientError: its keeper stopped answering half way.
    """
    try:
        kept = keeper_of(target).look()
    except RefusedError as exc:
        raise UnreachableError(str(exc)) from exc
    with process_of_keeper(kept, called(target)) as process:
        yield process, kept


def _require_it_is_meant(process: Living, kept: Kept, what: str) -> None:
    """A keeper in another pid namespace names numbers that are other processes here."""
    if kept.started_at not in {None, process.identity.started_at}:
        raise GoneError(f"{what}, process {process.pid}, has ended, and its number was given to another one")
    parent, age = process.stat().parent, age_s(process.identity)
    if kept.parent is not None and parent != kept.parent:
        raise UnreachableError(
            f"{what} has number {process.pid}, and here that is a child of {parent}, not of its supervisor "
            f"{kept.parent}: it runs in another pid namespace, such as a container"
        )
    if kept.age_s is not None and abs(kept.age_s - age) > _SLACK_S:
        raise UnreachableError(
            f"{what} has number {process.pid} and an age of {kept.age_s:.0f} s; here that process has run "
            f"for {age:.0f} s: it is another one, or the clock was set since"
        )
