"""Give keys the expiry that the site wants for their prefix."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import shown, span
from medic8.targets.planning import objects_of
from medic8.targets.valkey.acts.expiry import EXPIRE_KEY, ExpireKey
from medic8.targets.valkey.plans.planning import is_before_redis_7, plan_of

EXPIRE_FORGOTTEN_KEYS = "expire_forgotten_keys"

_FOUND = "keys.without_expiry"

_TOO_OLD = (
    "This server is older than Redis 7.0 and does not tell when a key expires (PEXPIRETIME), so that an "
    "expiry could not be taken back for sure: give the keys one by EXPIRE yourself."
)


def plan_expiry(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to give keys of a configured prefix an expiry where they have none.

    Each key is a step, taken back by itself where the expiry is still the one
    that was set. A person has to agree, since nothing brings a key back that has expired.
    What is proven stands, although others may leave more such keys meanwhile than one plan treats.
    Before Redis 7.0 a server does not tell when a key expires, so that nobody could take it back for sure.
    """
    found = [ExpireKey.model_validate(each) for each in objects_of(issue, report, _FOUND)]
    cannot = bool(found) and is_before_redis_7(report)
    wanted = [] if cannot else found
    steps = tuple(_step(ask, target) for ask in sorted(wanted, key=lambda each: each.key))
    more = issue.extent - len(steps)
    after = span(wanted[0].after_s) if wanted else ""
    return plan_of(
        EXPIRE_FORGOTTEN_KEYS,
        issue,
        report,
        target,
        [Unit(title=f"expiry of {issue.about}", steps=steps, proves_itself=True)] if steps else [],
        summary=f"Have {len(steps):,} {issue.about} expire in {after}. It can be taken back until then.",
        nothing=_TOO_OLD if cannot else "No key of a configured prefix lacks an expiry.",
        risk=Risk.HIGH if steps else Risk.LOW,
        left_open=(f"{more:,} more {issue.about} have no expiry: heal again",) if steps and more > 0 else (),
    )


def _step(ask: ExpireKey, target: Target) -> Step:
    return Step(
        title=f"have key {shown(ask.name)} of {target.name} expire in {span(ask.after_s)}",
        action=EXPIRE_KEY,
        arguments=ask.model_dump(),
        touches=f"expiry of key {shown(ask.name)}",
    )
