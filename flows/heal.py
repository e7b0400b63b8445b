"""Diagnose a target and treat every issue found, the heaviest first, the cheapest strategy first."""

from __future__ import annotations

from contextlib import suppress

from prefect import flow, get_run_logger, tags
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.diagnose import diagnose
from flows.handed import handed
from flows.interruption import interruption
from flows.resolve import resolve
from flows.restore_interrupted import tell_all
from flows.returned import returned
from medic8.analysis.order import ended_as, ended_beneath, gone, next_beneath, next_issue, waiting
from medic8.errors import ConfigurationError
from medic8.model.issue import Issue
from medic8.model.plan import Plan
from medic8.model.policy import Mandate, Origin
from medic8.model.recovery import Recovery
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Outcome, Resolution, Treatment
from medic8.model.target import Target
from medic8.recovery.faults import SilentError
from medic8.recovery.interrupted import interrupted_on
from medic8.recovery.journal import Journal
from medic8.safety.admission import check_approvals
from medic8.settings import Settings, load_settings
from medic8.targets.registry import kind_named
from tasks.approvals import that_people_gave
from tasks.interrupted import end_recovery
from tasks.observe import note_sighting
from tasks.origin import origin_of_run
from tasks.plan import plan_treatment
from tasks.tell import sign
from tasks.track import tags_of, untagged

#: After these the next strategy may still help.
_MAY_GO_ON = (Outcome.PARTLY_RESOLVED, Outcome.RESTORED, Outcome.PLANNED)

#: Instead of the name of a strategy.
ANY = "any"


def _digests(given: list[str] | str | None) -> list[str]:
    """The digests, also in a line of text: that is what a person can write into a form."""
    return given.replace(",", " ").split() if isinstance(given, str) else given or []


def _origin(given: str) -> Origin:
    try:
        return Origin(given)
    except ValueError:
        known = " or ".join(Origin)
        raise ConfigurationError(f"origin {given[:80]!r} is none; it is {known}") from None


# Builtin types alone: a flow that is served from its file is not in sys.modules, where names are sought.
@flow(
    name="heal",
    flow_run_name="heal {target}",
    persist_result=True,
    result_serializer="json",
    on_running=[sign],
)
def heal(
    target: str,
    dry_run: bool = False,
    approved: list[str] | str | None = None,
    issues: list[str] | None = None,
    strategy: str = ANY,
    origin: str = Origin.PERSON.value,
    override: str = "",
    watch_s: float = 0.0,
) -> State[Treatment]:
    """
    Diagnose a target, and treat what is wrong as far as its configuration allows, causes before symptoms.

    Args:
        target: The target's name in the configuration.
        dry_run: Show the plans and change nothing.
        approved: Digests of plans that a person agreed to; where nobody began the run they count only if
            it carries out what was asked for and approved.
        issues: Fingerprints of the issues to treat, and no others; none = all that are found.
        strategy: The only one to try, and on nothing but this target; ``any`` = the cheapest that helps.
        origin: Who or what began it; what nobody decided has limits (docs/admission.md).
        override: Why a person goes on although there is a pause; empty = a pause stops it.
        watch_s: For how many seconds each diagnosis watches what changes; 0 = moments alone. What a watch
            found is gone only if another watch does not find it.
    """
    given = check_approvals(_digests(approved))
    site = load_settings()
    subject = site.target(target)
    with untagged():
        interrupted = () if dry_run else _end_interrupted(subject, site)
    mandate = Mandate(
        origin=origin_of_run(_origin(origin)),
        override=override,
        treatment=flow_run.get_root_flow_run_id() or "",
    )
    agreed = that_people_gave(given, mandate, site)
    if given and not agreed:
        get_run_logger().warning(
            "%s began this run: the plans %s count as not approved", mandate.origin.article, ", ".join(given)
        )
    # What was ended just now has changed the target since somebody else looked.
    before = None if interrupted else handed(target)
    if before is None:
        before = _diagnosis(target, watch_s)
    if mandate.origin.is_automatic:
        with untagged():
            note_sighting(before, site)
    beneath, report, ended = (
        _treat_beneath(before, site, agreed, mandate, watch_s, dry_run=dry_run)
        if strategy == ANY
        else ((), before, {})
    )
    resolutions = list[Resolution]()
    known = {issue.fingerprint for issue in before.issues if not issues or issue.fingerprint in issues}
    while not interruption() and (issue := next_issue(report, known, ended)) is not None:
        treated, report = _treat_issue(
            subject, issue, report, agreed, mandate, dry_run=dry_run, only=strategy
        )
        resolutions += treated
        ended[issue.fingerprint] = ended_as(treated, subject.allow) if treated else Outcome.UNSUPPORTED
    if not dry_run:
        with untagged(), suppress(SilentError):
            tell_all(site)
    treatment = Treatment(
        target=target,
        kind=subject.kind,
        interrupted=interrupted,
        beneath=beneath,
        before=before,
        resolutions=tuple(resolutions),
        after=None if report is before else report,
        waiting=waiting(report, known, ended),
        gone=gone(before, report, ended),
    )
    if dry_run:
        return Completed(name="Planned", data=treatment)
    if treatment.is_healed:
        return Completed(name=", ".join(filter(None, ("Healthy", treatment.lost))), data=treatment)
    return Failed(name="Not healed", message=treatment.why_not_healed, data=treatment)


def _treat_beneath(
    report: DiagnosticReport,
    site: Settings,
    agreed: list[str],
    mandate: Mandate,
    watch_s: float,
    *,
    dry_run: bool,
) -> tuple[tuple[Treatment, ...], DiagnosticReport, dict[str, Outcome]]:
    """
    Treat the causes that lie in what the target stands on, each once, by a run of this flow on that target.

    Returns:
        What was done; the newest report; and how the causes ended that issues of the target follow from.
    """
    treatments, ended = list[Treatment](), dict[str, Outcome]()
    while not interruption() and (found := next_beneath(report, ended)):
        name, causes = found
        with untagged(), tags(*tags_of(site.target(name))):
            treatment = returned(
                heal(
                    name,
                    dry_run=dry_run,
                    approved=agreed,
                    issues=list(causes),
                    origin=mandate.origin,
                    override=mandate.override,
                    return_state=True,
                ),
                Treatment,
            )
        treatments.append(treatment)
        ended |= ended_beneath(report, causes, treatment, site.target(name).allow)
        if treatment.after is not None:
            report = _diagnosis(report.target, watch_s)
    return tuple(treatments), report, ended


def _diagnosis(target: str, watch_s: float) -> DiagnosticReport:
    return returned(diagnose(target, watch_s, return_state=True), DiagnosticReport)


def _end_interrupted(target: Target, site: Settings) -> tuple[Recovery, ...]:
    """End what earlier runs on *target* left half done when they died."""
    try:
        dead = interrupted_on(Journal(site.journal_url), target.name)
    except SilentError as exc:
        get_run_logger().warning("%s; whatever is to be done will be refused", exc)
        return ()
    ended = [end_recovery(each, site, flow_run.get_id() or "") for each in dead]
    return tuple(each for each in ended if each is not None)


def _treat_issue(
    target: Target,
    issue: Issue,
    report: DiagnosticReport,
    approved: list[str],
    mandate: Mandate,
    *,
    dry_run: bool,
    only: str,
) -> tuple[list[Resolution], DiagnosticReport]:
    """Try one strategy after another, or *only* one, until the issue is gone; also the newest report."""
    resolutions: list[Resolution] = []
    present: Issue | None = issue
    known = kind_named(target.kind).strategies
    others = () if only == ANY else tuple(each for each in known if each != only)
    for _ in known or (None,):
        if present is None:
            break
        tried = tuple(each.plan.strategy for each in resolutions if each.plan is not None)
        with untagged():
            plan = plan_treatment(
                target, present, report, (*others, *tried), () if dry_run else tuple(approved)
            )
        if (resolutions or others) and (plan is None or not plan.units):
            break
        resolution = _resolve(target, present, plan, report, approved, mandate, dry_run=dry_run)
        resolutions.append(resolution)
        if resolution.after is not None:
            report = resolution.after
        elif resolution.recovery:
            report = _diagnosis(target.name, issue.watched_s)
        if resolution.outcome not in _MAY_GO_ON:
            break
        present = next((each for each in report.issues if each.fingerprint == issue.fingerprint), None)
    return resolutions, report


def _resolve(
    target: Target,
    issue: Issue,
    plan: Plan | None,
    report: DiagnosticReport,
    approved: list[str],
    mandate: Mandate,
    *,
    dry_run: bool,
) -> Resolution:
    with tags(*tags_of(target, issue)):
        state = resolve(
            target.name,
            issue,
            plan,
            report,
            dry_run=dry_run,
            approved=approved,
            mandate=mandate,
            return_state=True,
        )
    return returned(state, Resolution)
