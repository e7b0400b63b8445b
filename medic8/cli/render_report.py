"""A diagnosis for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType

from medic8.cli.render import bullets, facts, indented, line, section, table, text, word
from medic8.cli.render_grid import grid_facts
from medic8.model.issue import CauseLink, Evidence, Issue
from medic8.model.report import DiagnosticReport
from medic8.model.wording import counted, moment, span


def render_report(report: DiagnosticReport) -> Iterator[RenderableType]:
    """The health in one word, what is wrong with its evidence, and what could not be seen."""
    yield render_headline(report)
    if report.grid is not None:
        yield indented(grid_facts(report.grid))
    for number, issue in enumerate(report.issues, 1):
        yield section(f"Issue {number} of {len(report.issues)}", render_issue(issue))
    told = {(fact.what, fact.seen) for issue in report.issues for fact in issue.evidence}
    rest = [
        finding
        for finding in report.analysis.findings
        if not finding.evidence or any((fact.what, fact.seen) not in told for fact in finding.evidence)
    ]
    if rest:
        found = table("severity", "finding", "about", "a person can")
        for finding in rest:
            advice = text("; ".join(finding.advice))
            found.add_row(word(finding.severity), text(finding.text), text(finding.about), advice)
        yield section("Findings", found)
    if report.analysis.unseen:
        yield section("Not seen", bullets(report.analysis.unseen))
    if report.issues and report.analysis.health != "unreachable":
        yield section("Next", text(f"medic8 plan {report.target}"))


def render_headline(report: DiagnosticReport) -> RenderableType:
    """The target, its health and how much is wrong with it."""
    how_much = counted(len(report.issues), "issue") if report.issues else ""
    taken = f"looked at {moment(report.taken_at)}, for {span(report.duration_s)}"
    return line(
        text(f"{report.target} ({report.kind})", "bold"), word(report.analysis.health), how_much, taken
    )


def render_issue(issue: Issue) -> RenderableType:
    """One issue with everything a person would ask about it."""
    title = line(word(issue.severity), text(issue.title, "bold"))
    about = facts(
        (
            ("type", word(issue.issue_type)),
            ("about", issue.about),
            ("cause", issue.cause),
            ("symptoms", "; ".join(issue.symptoms)),
        )
    )
    parts: list[RenderableType] = [title, about]
    if issue.follows_from:
        named, *others = issue.follows_from
        parts.append(section("Follows from", _cause(named)))
        if others:
            parts.append(section("May follow also from", *(_cause(link) for link in others)))
    if issue.evidence:
        parts.append(_evidence(issue.evidence))
    if issue.advice:
        parts += [line("A person can:"), bullets(issue.advice)]
    return Group(*parts)


def _cause(link: CauseLink) -> RenderableType:
    told = [f"for it: {each}" for each in link.support] + [f"against it: {each}" for each in link.against]
    return Group(line(text(named_cause(link), "bold")), text(link.why), *([bullets(told)] if told else []))


def named_cause(link: CauseLink) -> str:
    """The title of a cause; where it is another target's, its name is told."""
    return f"{link.title} (target {link.target})" if link.target else link.title


def _evidence(evidence: tuple[Evidence, ...]) -> RenderableType:
    facts_seen = table("evidence", "seen", "limit")
    for fact in evidence:
        facts_seen.add_row(text(fact.what), text(fact.seen), text(fact.limit))
    return facts_seen
