"""The cause that lies beneath is found, named once, and treated first."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from medic8.analysis.beneath import link_beneath, root_beneath
from medic8.analysis.causes import CauseRule
from medic8.analysis.order import ended_beneath, next_beneath, next_issue
from medic8.model.issue import CauseLink, Issue, IssueType, Severity
from medic8.model.report import Analysis, DiagnosticReport, DiagnosticResult, Health, Reading
from medic8.model.resolution import Outcome, Resolution, Treatment
from medic8.targets.valkey.causes_beneath import CAUSES_BENEATH, holds_its_data

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RULES = {
    "server": (
        CauseRule(frozenset({"server.full"}), frozenset({"api.fails"}), "A full server refuses."),
        CauseRule(frozenset({"server.odd"}), frozenset({"api.fails"}), "An odd server refuses as well."),
    )
}


def issue(target: str, sign: str, *follows: Issue, severity: Severity = Severity.ERROR) -> Issue:
    links = (
        CauseLink(cause=each.fingerprint, title=each.title, why="so", target=each.target) for each in follows
    )
    return Issue(
        issue_type=IssueType.NETWORK,
        severity=severity,
        target=target,
        title=f"{sign} of {target}",
        about=sign,
        signs=(sign,),
        follows_from=tuple(links),
        detected_at=NOW,
    )


def report(
    target: str, kind: str, *issues: Issue, beneath: tuple[DiagnosticReport, ...] = ()
) -> DiagnosticReport:
    return DiagnosticReport(
        target=target,
        kind=kind,
        analysis=Analysis(health=Health.FAILING),
        issues=issues,
        taken_at=NOW,
        beneath=beneath,
    )


def test_an_issue_follows_from_what_lies_beneath_and_says_whose_it_is() -> None:
    """The link names the other target; an issue that no rule is for stays a root."""
    below = report("cache", "server", issue("cache", "server.full"))
    fails, other = link_beneath((issue("api", "api.fails"), issue("api", "api.odd")), {}, [below], RULES)
    (link,) = fails.follows_from
    assert (link.cause, link.target) == (below.issues[0].fingerprint, "cache")
    assert other.follows_from == ()


def test_what_follows_from_its_own_target_is_not_asked_again() -> None:
    """Only roots may lie deeper."""
    near = issue("api", "api.near")
    symptom = issue("api", "api.fails", near)
    below = report("cache", "server", issue("cache", "server.full"))
    assert link_beneath((near, symptom), {}, [below], RULES) == (near, symptom)


def test_a_mild_matter_beneath_is_no_cause_of_a_great_one() -> None:
    """Both being there is not enough."""
    below = report("cache", "server", issue("cache", "server.full", severity=Severity.WARNING))
    (fails,) = link_beneath((issue("api", "api.fails"),), {}, [below], RULES)
    assert fails.follows_from == ()


def test_a_kind_without_rules_explains_nothing() -> None:
    """What it stands on is named by the site; what follows from it is for rules to say."""
    below = report("host", "host", issue("host", "server.full"))
    (fails,) = link_beneath((issue("api", "api.fails"),), {}, [below], RULES)
    assert fails.follows_from == ()


def three_deep() -> tuple[DiagnosticReport, Issue, Issue, Issue]:
    """``api`` on ``cache`` on ``host``, each explained by the one beneath."""
    disk = issue("host", "disk.full")
    full = issue("cache", "server.full", disk)
    fails = issue("api", "api.fails", full)
    host = report("host", "host", disk)
    cache = report("cache", "server", full, beneath=(host,))
    return report("api", "endpoint", fails, beneath=(cache,)), fails, full, disk


def test_the_deepest_cause_is_the_one_to_treat_and_is_treated_once() -> None:
    """The disk, and neither the server above it nor the endpoint above that."""
    above, fails, full, disk = three_deep()
    assert root_beneath(fails, above) == ("host", disk)
    assert next_beneath(above, {}) == ("host", (disk.fingerprint,))
    assert next_issue(above, {fails.fingerprint}, {}) is None
    treatment = treated("host", disk, Outcome.RESOLVED)
    ended = ended_beneath(above, (disk.fingerprint,), treatment, ())
    assert ended == {disk.fingerprint: Outcome.RESOLVED, full.fingerprint: Outcome.RESOLVED}
    assert next_beneath(above, ended) is None


def treated(target: str, what: Issue, outcome: Outcome) -> Treatment:
    done = Resolution(
        target=target, kind="host", issue=what, outcome=outcome, reason="so", started_at=NOW, ended_at=NOW
    )
    return Treatment(target=target, kind="host", before=report(target, "host", what), resolutions=(done,))


def test_relief_comes_only_where_no_strategy_is_for_the_cause() -> None:
    """Refused or put back: a person decides first. Unsupported: the symptom is treated."""
    above, fails, _, disk = three_deep()
    for outcome, is_treated in (
        (Outcome.UNSUPPORTED, True),
        (Outcome.RESTORED, False),
        (Outcome.AWAITING_APPROVAL, False),
        (Outcome.NEEDS_PERSON, False),
    ):
        ended = ended_beneath(above, (disk.fingerprint,), treated("host", disk, outcome), ())
        assert (next_issue(above, {fails.fingerprint}, ended) is not None) == is_treated


@given(st.sets(st.sampled_from(["server.full", "server.odd", "server.else"])), st.integers(1, 3))
def test_an_issue_has_a_cause_beneath_exactly_if_a_rule_and_a_finding_say_so(
    signs: set[str], below: int
) -> None:
    """Whatever is found in however many servers, nothing is invented and each cause is named once."""
    reports = [
        report(f"cache-{number}", "server", *(issue(f"cache-{number}", sign) for sign in sorted(signs)))
        for number in range(below)
    ]
    (fails,) = link_beneath((issue("api", "api.fails"),), {}, reports, RULES)
    assert len(fails.follows_from) == below * len(signs & {"server.full", "server.odd"})
    assert len({link.cause for link in fails.follows_from}) == len(fails.follows_from)


def disks(*folders: str) -> dict[str, DiagnosticResult]:
    readings = tuple(Reading(name=f"disk.used.{folder}", value=0.5) for folder in folders)
    return {"disks": DiagnosticResult(diagnostic="disks", readings=readings, taken_at=NOW)}


def writing_to(folder: str) -> dict[str, DiagnosticResult]:
    readings = (Reading(name="persistence.folder", value=folder),)
    return {"persistence": DiagnosticResult(diagnostic="persistence", readings=readings, taken_at=NOW)}


def test_only_the_disk_that_holds_its_data_is_the_cause() -> None:
    """A full disk elsewhere on the host explains nothing, and neither does one whose place is not known."""
    host = disks("/", "/var/lib", "/var/log")
    server = writing_to("/var/lib/valkey")
    assert [holds_its_data(server, host, folder) for folder in ("/", "/var/lib", "/var/log")] == [
        False,
        True,
        False,
    ]
    assert holds_its_data(writing_to("/srv/valkey"), host, "/")
    assert not holds_its_data({}, host, "/")
    assert not holds_its_data(server, {}, "/var/lib")
    full = issue("host", "disk.space").model_copy(update={"about": "/var/log"})
    below = report("host", "host", full).model_copy(update={"results": host})
    misconf = issue("cache", "server.misconf")
    assert link_beneath((misconf,), server, [below], CAUSES_BENEATH)[0].follows_from == ()
    below = below.model_copy(update={"issues": (full.model_copy(update={"about": "/var/lib"}),)})
    (link,) = link_beneath((misconf,), server, [below], CAUSES_BENEATH)[0].follows_from
    assert link.target == "host"
