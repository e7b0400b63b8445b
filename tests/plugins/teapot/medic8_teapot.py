"""A kind of target that another package brings along, for tests that need a kind and no server."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import cast

from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.targets.kind import Session, Surroundings, TargetKind


def _plan(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    return Plan(
        target=report.target, strategy="descale", issue_fingerprint=issue.fingerprint, summary=target.name
    )


def _requires(target: Target) -> tuple[str, ...]:
    return ('field "labels": a teapot needs the label "spout"',) if target.labels.get("lid") else ()


def _open_session(target: Target, around: Surroundings) -> AbstractContextManager[Session]:
    return nullcontext(cast("Session", (target, around)))


KIND = TargetKind(
    name="teapot",
    summary="a teapot, short and stout",
    diagnostics={},
    rules=(),
    strategies={"descale": _plan, "reheat": _plan},
    open_session=_open_session,
    compare=lambda _before, _after: (),
    requires=_requires,
)
