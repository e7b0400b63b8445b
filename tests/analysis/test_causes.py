"""Causes and symptoms: who is named, in which order, and what is treated."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.analysis.analyzer import WEIGHT, analyze
from medic8.analysis.causes import CauseRule, Clue, Results, link_causes
from medic8.analysis.order import ended_as, gone, next_issue, waiting
from medic8.model.issue import Issue, IssueType, Severity
from medic8.model.plan import Plan, Risk
from medic8.model.report import DiagnosticReport, DiagnosticResult, Reading
from medic8.model.resolution import Outcome, Resolution
from medic8.targets.registry import kind_named, kind_names

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def issue(code: str, severity: Severity = Severity.WARNING) -> Issue:
    return Issue(
        issue_type=IssueType.SLOW_OPERATIONS,
        severity=severity,
        target="server",
        title=f"the issue {code}",
        about=code,
        signs=(code,),
        detected_at=NOW,
    )


def rule(cause: str, effect: str, *clues: Clue) -> CauseRule:
    return CauseRule(frozenset({cause}), frozenset({effect}), f"{cause} leads to {effect}.", clues)


def clue(reading: str) -> Clue:
    def look(results: Results) -> bool | None:
        found = results["one"].reading(reading)
        return None if found is None else bool(found.value)

    return Clue(f"{reading} is so", f"{reading} is not so", look)


def read(**values: bool) -> Results:
    readings = tuple(Reading(name=name, value=value) for name, value in values.items())
    return {"one": DiagnosticResult(diagnostic="one", readings=readings, taken_at=NOW)}


def report_of(*issues: Issue) -> DiagnosticReport:
    return DiagnosticReport(target="server", kind="valkey", analysis=analyze([]), issues=issues, taken_at=NOW)


def names(issues: tuple[Issue, ...]) -> list[str]:
    return [each.about for each in issues]


def test_a_cause_comes_before_what_it_explains_and_its_family_is_as_urgent_as_its_worst() -> None:
    """The alarming symptom does not hide the quiet cause."""
    found = [issue("a.symptom", Severity.CRITICAL), issue("b.other", Severity.ERROR), issue("c.cause")]
    linked = link_causes(found, read(x=True), [rule("c.cause", "a.symptom", clue("x"))])
    assert names(linked) == ["c.cause", "a.symptom", "b.other"]
    cause, symptom, other = linked
    assert cause.explains == (symptom.fingerprint,)
    assert [(each.cause, each.why) for each in symptom.follows_from] == [
        (cause.fingerprint, "c.cause leads to a.symptom.")
    ]
    assert (other.explains, other.follows_from) == ((), ())


@pytest.mark.parametrize(
    ("values", "support", "against"),
    [
        ({"x": True, "y": False}, ("x is so",), ("y is not so",)),
        ({"x": True}, ("x is so",), ()),
        ({}, (), ()),
    ],
)
def test_a_link_says_what_speaks_for_and_against_it(
    values: dict[str, bool], support: tuple[str, ...], against: tuple[str, ...]
) -> None:
    """What was not seen speaks for nothing."""
    (_, symptom) = link_causes(
        [issue("a.cause"), issue("b.symptom")],
        read(**values),
        [rule("a.cause", "b.symptom", clue("x"), clue("y"))],
    )
    assert (symptom.follows_from[0].support, symptom.follows_from[0].against) == (support, against)


def test_what_speaks_against_a_link_outweighs_that_both_are_there() -> None:
    """Two faults at once are two faults."""
    linked = link_causes(
        [issue("a.cause"), issue("b.symptom")], read(x=False), [rule("a.cause", "b.symptom", clue("x"))]
    )
    assert all(not each.follows_from and not each.explains for each in linked)


def test_a_small_matter_is_no_cause_of_a_great_one_for_being_there() -> None:
    """One dead client does not explain a thousand connections; something has to speak for it."""
    found = [issue("a.great", Severity.ERROR), issue("b.small", Severity.WARNING)]
    rules = [rule("b.small", "a.great", clue("x"))]
    assert all(not each.follows_from for each in link_causes(found, read(), rules))
    assert any(each.follows_from for each in link_causes(found, read(x=True), rules))


def test_of_two_possible_causes_the_one_that_more_speaks_for_is_named_and_the_other_is_told() -> None:
    """Only the first counts as the cause."""
    found = [issue("a.one"), issue("b.two"), issue("c.symptom")]
    rules = [rule("a.one", "c.symptom"), rule("b.two", "c.symptom", clue("x"))]
    linked = {each.about: each for each in link_causes(found, read(x=True), rules)}
    assert [each.title for each in linked["c.symptom"].follows_from] == ["the issue b.two", "the issue a.one"]
    assert (linked["a.one"].explains, len(linked["b.two"].explains)) == ((), 1)


def test_of_what_is_as_urgent_what_fewer_things_lead_to_comes_first() -> None:
    """A symptom whose cause was not seen stands behind whatever may be one, unless it is more urgent."""
    rules = [rule("a.one", "z.symptom"), rule("b.two", "z.symptom"), rule("a.one", "y.rarer")]
    found = [issue("z.symptom"), issue("y.rarer"), issue("x.cause")]
    assert names(link_causes(found, read(), rules)) == ["x.cause", "y.rarer", "z.symptom"]
    urgent = [issue("z.symptom", Severity.ERROR), issue("x.cause")]
    assert names(link_causes(urgent, read(), rules)) == ["z.symptom", "x.cause"]


def test_what_passes_a_cause_on_is_no_other_cause() -> None:
    """Of a chain, each link names the one before it."""
    found = [issue("a.root"), issue("b.middle"), issue("c.symptom")]
    rules = [
        rule("a.root", "c.symptom", clue("x")),
        rule("a.root", "b.middle"),
        rule("b.middle", "c.symptom"),
    ]
    linked = {each.about: each for each in link_causes(found, read(x=True), rules)}
    assert [each.title for each in linked["c.symptom"].follows_from] == ["the issue a.root"]


@given(
    edges=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25),
    weights=st.lists(st.sampled_from(WEIGHT), min_size=7, max_size=7),
)
def test_no_issue_is_lost_or_its_own_cause_whatever_the_rules(
    edges: list[tuple[int, int]], weights: list[Severity]
) -> None:
    """Rules of several kinds and packages may contradict each other."""
    codes = [f"code.{letter}" for letter in "abcdefg"]
    found = [issue(code, weight) for code, weight in zip(codes, weights, strict=True)]
    linked = link_causes(found, read(), [rule(codes[cause], codes[effect]) for cause, effect in edges])
    assert sorted(names(linked)) == codes
    seen: set[str] = set()
    for each in linked:
        if each.follows_from:
            assert each.follows_from[0].cause in seen
        seen.add(each.fingerprint)


def linked_pair() -> tuple[Issue, Issue]:
    cause, symptom = link_causes(
        [issue("a.cause"), issue("b.symptom")], read(), [rule("a.cause", "b.symptom")]
    )
    return cause, symptom


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_symptom_waits_for_its_cause_unless_nothing_can_be_done_about_that(outcome: Outcome) -> None:
    """Relief is for causes that no strategy is for; everything else is a person's decision."""
    cause, symptom = linked_pair()
    report, known = report_of(cause, symptom), {cause.fingerprint, symptom.fingerprint}
    assert next_issue(report, known, {}) == cause
    ended = {cause.fingerprint: outcome}
    if outcome is Outcome.UNSUPPORTED:
        assert next_issue(report, known, ended) == symptom
    else:
        assert next_issue(report, known, ended) is None
        assert waiting(report, known, ended) == (symptom,)


def tried(outcome: Outcome, strategy: str) -> Resolution:
    plan = Plan(
        target="server", strategy=strategy, issue_fingerprint="x", summary="Do it.", risk=Risk.LOW, units=()
    )
    return Resolution(
        target="server", kind="valkey", plan=plan, outcome=outcome, reason="so", started_at=NOW, ended_at=NOW
    )


@pytest.mark.parametrize(
    ("resolutions", "counts_as"),
    [
        ([tried(Outcome.REFUSED, "other")], Outcome.UNSUPPORTED),
        ([tried(Outcome.REFUSED, "allowed")], Outcome.REFUSED),
        ([tried(Outcome.PLANNED, "other")], Outcome.UNSUPPORTED),
        ([tried(Outcome.PLANNED, "allowed"), tried(Outcome.PLANNED, "other")], Outcome.PLANNED),
        ([tried(Outcome.PARTLY_RESOLVED, "allowed"), tried(Outcome.REFUSED, "other")], Outcome.UNSUPPORTED),
        ([tried(Outcome.AWAITING_APPROVAL, "allowed")], Outcome.AWAITING_APPROVAL),
    ],
)
def test_what_a_site_never_allows_is_no_treatment_also_in_a_dry_run(
    resolutions: list[Resolution], counts_as: Outcome
) -> None:
    """A plan shows the symptom's treatment exactly where heal would come to it."""
    assert ended_as(resolutions, ("allowed",)) is counts_as


def test_what_a_cause_explained_is_looked_at_again_when_it_is_gone() -> None:
    """Still there: an issue of its own. Gone: said so. New: for the next run."""
    cause, symptom = linked_pair()
    known, ended = {cause.fingerprint, symptom.fingerprint}, {cause.fingerprint: Outcome.RESOLVED}
    alone = symptom.model_copy(update={"follows_from": ()})
    assert next_issue(report_of(alone), known, ended) == alone
    assert gone(report_of(cause, symptom), report_of(), ended) == (symptom,)
    assert next_issue(report_of(issue("c.new")), known, ended) is None


def test_every_cause_that_a_kind_knows_is_a_finding_that_it_has_an_issue_for() -> None:
    """A slip of the pen in a code would link nothing, silently."""
    for name in kind_names():
        kind = kind_named(name)
        codes = {code for each in kind.rules for code in each.codes}
        used = {code for each in kind.causes for code in each.causes | each.effects}
        assert used <= codes, f"{name}: {sorted(used - codes)}"


def test_the_documented_rules_are_those_of_the_code() -> None:
    """docs/causes.md has one row for each rule of a server, in the same order."""

    def told(codes: frozenset[str]) -> str:
        return ", ".join(f"`{code}`" for code in sorted(codes))

    text = (Path(__file__).parents[2] / "docs" / "causes.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `") and "tests/" not in line]
    wanted = [
        f"| {told(each.causes)} | {told(each.effects)} | {each.why} |" for each in kind_named("valkey").causes
    ]
    assert rows == wanted


def test_the_documented_rules_about_what_lies_beneath_are_those_of_the_code() -> None:
    """docs/causes.md has one row for each rule of each kind, in the same order."""

    def told(codes: frozenset[str]) -> str:
        return ", ".join(f"`{code}`" for code in sorted(codes))

    text = (Path(__file__).parents[2] / "docs" / "causes.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| kind `")]
    assert rows == [
        f"| kind `{name}` on `{beneath}` | {told(each.causes)} | {told(each.effects)} | {each.why} |"
        for name in kind_names()
        for beneath, rules in kind_named(name).causes_beneath.items()
        for each in rules
    ]
    assert rows
