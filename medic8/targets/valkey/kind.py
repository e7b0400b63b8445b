"""The kind ``valkey`` as the rest of the house sees it."""

from __future__ import annotations

from medic8.analysis.changes import changes
from medic8.model.report import DiagnosticReport
from medic8.model.resolution import Change
from medic8.model.target import Target
from medic8.targets.kind import TargetKind
from medic8.targets.valkey.actions import open_session
from medic8.targets.valkey.address import address_problems
from medic8.targets.valkey.backups import ValkeyBackups
from medic8.targets.valkey.causes import CAUSES
from medic8.targets.valkey.causes_beneath import CAUSES_BENEATH
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.guards import ServerGuards
from medic8.targets.valkey.performance import analyze_service
from medic8.targets.valkey.policy import POLICY
from medic8.targets.valkey.remedies import REMEDIES
from medic8.targets.valkey.resources import monitor_server, tracked
from medic8.targets.valkey.rules import RULES
from medic8.targets.valkey.setting_names import why_not
from medic8.targets.valkey.strategies import STRATEGIES


def compare(before: DiagnosticReport, after: DiagnosticReport) -> tuple[Change, ...]:
    """Every setting that the site has a rule for, and memory, before and after."""
    return (
        *changes(before, after, "settings", lambda name: name.replace("setting.", "setting ")),
        *changes(before, after, "memory", {"memory.used": "used memory"}.get),
    )


def requires(target: Target) -> tuple[str, ...]:
    """What is wrong with the configuration of a server."""
    wrong = [
        *address_problems(target.address),
        *_setting_problems(target),
        *_expiry_problems(target),
    ]
    return tuple(wrong)


def _setting_problems(target: Target) -> list[str]:
    wrong = [why for rule in target.setting if (why := why_not(rule.name))]
    names = [rule.name for rule in target.setting]
    wrong += [
        f"setting {name!r} has {names.count(name)} rules; one is enough"
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    return wrong


def _expiry_problems(target: Target) -> list[str]:
    prefixes = [rule.prefix for rule in target.expiry]
    return [
        f"prefix {one!r} of field 'expiry' has two rules: {other!r} begins with it"
        for number, one in enumerate(prefixes)
        for at, other in enumerate(prefixes)
        if at != number and other.startswith(one) and (other != one or at > number)
    ]


KIND = TargetKind(
    name="valkey",
    summary="a Valkey or Redis server: reachability, memory, clients, commands, errors, keys, persistence, "
    "files, replication, replicas, log, settings",
    diagnostics=DIAGNOSTICS,
    rules=RULES,
    thresholds=dict(POLICY.named()),
    strategies=STRATEGIES,
    open_session=open_session,
    compare=compare,
    requires=requires,
    backups=ValkeyBackups(),
    guards=ServerGuards(),
    causes=CAUSES,
    causes_beneath=CAUSES_BENEATH,
    analyzers={"service": analyze_service},
    monitors={"server": monitor_server},
    tracked=tracked,
    remedies=REMEDIES,
)
