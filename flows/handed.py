"""A diagnosis that the flow which treats need not make again, since the flow that calls it just did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from medic8.model.report import DiagnosticReport

# No parameter of a flow: a form would ask a person for it, and a report is no builtin type.
_REPORT = ContextVar[DiagnosticReport | None]("_REPORT", default=None)


@contextmanager
def handing(report: DiagnosticReport) -> Iterator[None]:
    """A block in which flows that are called take *report* for a look at its target that they made now."""
    token = _REPORT.set(report)
    try:
        yield
    finally:
        _REPORT.reset(token)


def handed(target: str) -> DiagnosticReport | None:
    """The diagnosis of *target* that whoever called has just made; None if there is none."""
    report = _REPORT.get()
    return report if report is not None and report.target == target else None
