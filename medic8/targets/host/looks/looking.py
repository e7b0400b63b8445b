"""See that the host is this one, and put together what was seen of it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from medic8.errors import UnreachableError
from medic8.model.issue import Finding
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.machine.files import Machine

#: What an address begins with, and its name for whatever machine this is.
SCHEME, LOCAL = "host:", "local"


def name_in(address: str) -> str:
    """Which host *address* names; empty if it is no address of a host."""
    return address.removeprefix(SCHEME).strip("/").lower() if address.startswith(SCHEME) else ""


def address_problems(address: str) -> tuple[str, ...]:
    """What is wrong with *address* as that of a host, one sentence each."""
    if name_in(address):
        return ()
    wrong = (
        f"field 'url': a host's address is '{SCHEME}{LOCAL}', the machine that Medic8 runs on, or "
        f"'{SCHEME}NAME', the same if it has that name"
    )
    return (wrong,)


def here(target: Target) -> Machine:
    """
    This machine.

    Raises:
        UnreachableError: *target* is another one.
    """
    wanted, own = name_in(target.address), os.uname().nodename.lower()
    if wanted not in {LOCAL, own, own.partition(".")[0]}:
        raise UnreachableError(
            f"target {target.name} is host {wanted}, and this is {own}: Medic8 looks at the host that it "
            "runs on and at no other; run it there"
        )
    return Machine()


def result(
    diagnostic: str,
    around: Surroundings,
    machine: Machine,
    readings: Sequence[Reading | None] = (),
    findings: Sequence[Finding] = (),
) -> DiagnosticResult:
    """What was seen, with what could not be."""
    return DiagnosticResult(
        diagnostic=diagnostic,
        readings=tuple(reading for reading in readings if reading is not None),
        findings=tuple(findings),
        unseen=tuple(dict.fromkeys(machine.unseen)),
        taken_at=around.now,
    )
