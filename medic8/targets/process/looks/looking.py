"""Look at a process that may end any moment and may not tell everything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from medic8.model.issue import Finding
from medic8.model.report import DiagnosticResult, Reading
from medic8.model.target import Target
from medic8.targets.kind import Diagnostic, Surroundings
from medic8.targets.process.found import process_of_target
from medic8.targets.process.keepers.keeper import Kept
from medic8.targets.process.living import GoneError, Living, UntoldError

Told = TypeVar("Told")


class Look:
    """
    One look at a process.

    Attributes:
        diagnostic: Its name.
        around: What may be used beside the process.
        unseen: What could not be looked at and why, one sentence each.
    """

    def __init__(self, diagnostic: str, around: Surroundings) -> None:
        self.diagnostic = diagnostic
        self.around = around
        self.unseen: list[str] = []

    def ask(self, what: str, read: Callable[[], Told]) -> Told | None:
        """What *read* gives; None if the kernel does not tell it, which the result will say."""
        try:
            return read()
        except UntoldError as exc:
            self.unseen.append(f"{what}: {exc}")
            return None

    def result(
        self, readings: Sequence[Reading | None] = (), findings: Sequence[Finding] = ()
    ) -> DiagnosticResult:
        """What was seen."""
        return DiagnosticResult(
            diagnostic=self.diagnostic,
            readings=tuple(reading for reading in readings if reading is not None),
            findings=tuple(findings),
            unseen=tuple(dict.fromkeys(self.unseen)),
            taken_at=self.around.now,
        )


Looked = Callable[[Look, Target, Living, Kept], DiagnosticResult]


def of_a_process(diagnostic: str, look: Looked) -> Diagnostic:
    """
    A diagnostic that looks at the process if it runs; that it does not is for the first one to say.

    A process that ends half way is no failure either: what was seen of it is not kept.
    """

    def looked(target: Target, around: Surroundings) -> DiagnosticResult:
        one = Look(diagnostic, around)
        try:
            with process_of_target(target) as (process, kept):
                return look(one, target, process, kept)
        except GoneError as exc:
            one.unseen.append(f"{diagnostic}: {exc}")
            return one.result()

    looked.__doc__ = look.__doc__
    return looked


@contextlib.contextmanager
def if_told() -> Iterator[None]:
    """Pass over what of many things the kernel does not tell."""
    with contextlib.suppress(UntoldError):
        yield
