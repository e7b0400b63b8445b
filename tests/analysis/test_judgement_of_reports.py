"""Readings in, judgement out: weight, issues, verdicts and endings."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.analysis import ending, markdown
from medic8.analysis.analyzer import UNREACHABLE, WEIGHT, analyze
from medic8.analysis.detector import IssueRule, detect_issues
from medic8.analysis.verdict import require_better, verdict_on
from medic8.errors import VerifyError
from medic8.model.guard import Verdict
from medic8.model.issue import Evidence, Finding, Issue, IssueType, Severity
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import (
    Claim,
    Fence,
    Owner,
    Recovery,
    RecoveryResult,
    RecoveryState,
    StepRecord,
    StepState,
)
from medic8.model.report import Analysis, DiagnosticReport, DiagnosticResult, Health
from medic8.model.resolution import Outcome, Resolution

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RULE = IssueRule(
    codes=frozenset({"grid.damaged"}),
    issue_type=IssueType.GRID_CORRUPTION,
    title="{about} is damaged",
    symptoms=("Inconsistent data",),
)


def finding(
    severity: Severity = Severity.ERROR, code: str = "grid.damaged", about: str = "grid lab", extent: int = 1
) -> Finding:
    return Finding(
        code=code,
        severity=severity,
        text="text",
        about=about,
        extent=extent,
        evidence=(Evidence(what="blocks", seen=str(extent)),),
    )


def analysis_of(*findings: Finding) -> Analysis:
    return analyze([DiagnosticResult(diagnostic="one", findings=findings, taken_at=NOW)])


def report_of(*findings: Finding) -> DiagnosticReport:
    analysis = analysis_of(*findings)
    issues = detect_issues(analysis, (RULE,), target="lab", at=NOW)
    return DiagnosticReport(target="lab", kind="grid", analysis=analysis, issues=issues, taken_at=NOW)


def issue_of(extent: int = 1, severity: Severity = Severity.ERROR) -> Issue:
    return report_of(finding(severity, extent=extent)).issues[0]


def plan_of(*, left_open: tuple[str, ...] = ()) -> Plan:
    step = Step(title="do", action="do", touches="it")
    return Plan(
        target="lab",
        strategy="rebuild",
        issue_fingerprint="f",
        summary="Rebuild.",
        units=(Unit(title="one", steps=(step,)),),
        left_open=left_open,
    )


def result_of(
    state: RecoveryState, *steps: StepState, after: DiagnosticReport | None = None, plan: Plan | None = None
) -> RecoveryResult:
    recovery = Recovery(
        id="r",
        plan=plan or plan_of(),
        resources=(),
        claim=Claim(journal="j", recovery="r", fence=Fence(number=1, nonce="0")),
        owner=Owner(machine="m", boot="b", pid_namespace="p", pid=1, started_at=1),
        stands_on="",
        state=state,
        opened_at=NOW,
        steps=tuple(
            StepRecord(number=number, unit=number, title="do", state=each)
            for number, each in enumerate(steps)
        ),
    )
    return RecoveryResult(recovery=recovery, reason="because", after=after)


@given(st.lists(st.sampled_from(Severity)))
def test_the_heaviest_finding_decides(severities: list[Severity]) -> None:
    """However many light findings there are, they do not make a heavy one, nor outweigh it."""
    analysis = analysis_of(*(finding(each) for each in severities))
    assert [each.severity for each in analysis.findings] == sorted(severities, key=WEIGHT.index)
    heaviest = min(severities, key=WEIGHT.index, default=Severity.INFO)
    assert (
        analysis.health
        is {
            Severity.INFO: Health.HEALTHY,
            Severity.WARNING: Health.DEGRADED,
            Severity.ERROR: Health.FAILING,
            Severity.CRITICAL: Health.FAILING,
        }[heaviest]
    )


def test_nobody_at_home_is_its_own_state() -> None:
    """Unreachable is not merely failing: nothing else is known."""
    assert analysis_of(finding(code=UNREACHABLE)).health is Health.UNREACHABLE


def test_findings_about_one_object_are_one_issue() -> None:
    """Twenty damaged blocks of a grid are one corruption; another grid is another."""
    report = report_of(finding(extent=2), finding(Severity.CRITICAL, extent=3), finding(about="grid b"))
    assert [(each.about, each.severity, each.extent) for each in report.issues] == [
        ("grid lab", Severity.CRITICAL, 5),
        ("grid b", Severity.ERROR, 1),
    ]


def test_a_finding_that_no_rule_knows_is_no_issue_and_still_not_healthy() -> None:
    """What is not understood is shown, not treated."""
    report = report_of(finding(code="grid.odd"))
    assert report.issues == ()
    assert not report.is_healthy


def test_the_fingerprint_is_the_objects_not_the_days() -> None:
    """The same issue found again tomorrow, and worse, is the same issue."""
    assert issue_of(1).fingerprint == issue_of(7, Severity.CRITICAL).fingerprint
    assert issue_of(1).fingerprint != report_of(finding(about="grid b")).issues[0].fingerprint


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((3, Severity.ERROR), None, Verdict.BETTER),
        ((3, Severity.ERROR), (3, Severity.ERROR), Verdict.UNCHANGED),
        ((3, Severity.ERROR), (2, Severity.ERROR), Verdict.BETTER),
        ((3, Severity.ERROR), (4, Severity.ERROR), Verdict.WORSE),
        ((3, Severity.ERROR), (9, Severity.WARNING), Verdict.BETTER),
        ((3, Severity.ERROR), (1, Severity.CRITICAL), Verdict.WORSE),
    ],
)
def test_verdict(before: tuple[int, Severity], after: tuple[int, Severity] | None, verdict: Verdict) -> None:
    """Severity first, then how many objects are concerned."""
    later = report_of() if after is None else report_of(finding(after[1], extent=after[0]))
    assert verdict_on(issue_of(*before), later) is verdict


def test_an_unreachable_target_has_no_verdict() -> None:
    """No issue is seen where nothing is seen."""
    assert verdict_on(issue_of(), report_of(finding(code=UNREACHABLE))) is Verdict.CANNOT_TELL
    assert verdict_on(issue_of(), None) is Verdict.CANNOT_TELL
    with pytest.raises(VerifyError, match="cannot tell"):
        require_better(issue_of(), plan_of(), report_of(finding(code=UNREACHABLE)))


def test_a_plan_that_left_nothing_open_must_leave_nothing() -> None:
    """Half a cure verifies only where half a cure was promised."""
    half = report_of(finding(extent=1))
    require_better(issue_of(2), plan_of(left_open=("block 3",)), half)
    require_better(issue_of(2), plan_of(), report_of())
    with pytest.raises(VerifyError):
        require_better(issue_of(2), plan_of(), half)
    with pytest.raises(VerifyError):
        require_better(issue_of(1), plan_of(left_open=("block 3",)), half)


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (result_of(RecoveryState.HEALTHY, StepState.COMMITTED, after=report_of()), Outcome.RESOLVED),
        (
            result_of(RecoveryState.HEALTHY, StepState.COMMITTED, after=report_of(finding())),
            Outcome.PARTLY_RESOLVED,
        ),
        (
            result_of(
                RecoveryState.HEALTHY,
                StepState.COMMITTED,
                after=report_of(),
                plan=plan_of(left_open=("block 3",)),
            ),
            Outcome.PARTLY_RESOLVED,
        ),
        (result_of(RecoveryState.RESTORED, StepState.UNDONE), Outcome.RESTORED),
        (result_of(RecoveryState.RESTORED, StepState.COMMITTED, StepState.UNDONE), Outcome.PARTLY_RESOLVED),
        (result_of(RecoveryState.NEEDS_PERSON, StepState.CONFLICT), Outcome.NEEDS_PERSON),
    ],
)
def test_outcome(result: RecoveryResult, outcome: Outcome) -> None:
    """What the journal says decides, never a flow's hope."""
    assert ending.of_recovery(result, issue_of()).outcome is outcome


@given(st.text())
def test_nothing_a_target_says_breaks_an_artifact(hostile: str) -> None:
    """A client's name or a key may hold anything: tables keep their rows, and nothing becomes markup."""
    issue = issue_of().model_copy(update={"title": hostile, "about": hostile})
    resolution = Resolution(
        target=hostile,
        kind="grid",
        issue=issue,
        outcome=Outcome.REFUSED,
        reason="no",
        started_at=NOW,
        ended_at=NOW,
    )
    told = markdown.resolution(resolution)
    assert told.count("\n") == markdown.resolution(resolution.model_copy(update={"target": "x"})).count("\n")
    assert "<script" not in told
    assert all(char.isprintable() or char == "\n" for char in told)


def test_a_long_table_says_what_it_leaves_out() -> None:
    """A picture of a thousand rows helps nobody; silence about them would lie."""
    told = markdown.table(("a",), [("x",)] * 250)
    assert told.count("| x |") == 100
    assert "150 more" in told


def test_advice_goes_from_the_findings_to_the_issue_and_to_whoever_is_left_with_it() -> None:
    """Once each; and where no strategy can do anything, it is what is left."""
    advised = [
        finding(about="grid lab").model_copy(update={"advice": advice})
        for advice in (("look", "think"), ("think", "act"))
    ]
    report = report_of(*advised)
    assert report.issues[0].advice == ("look", "think", "act")
    assert ending.unsupported(report.issues[0], None).left == ("look", "think", "act")
    told = markdown.report(report)
    assert "- think" in told
    assert "look; think" in told
    left_open = plan_of(left_open=("block 3",)).model_copy(update={"units": ()})
    assert ending.unsupported(report.issues[0], left_open).left == ("block 3",)
