"""Set an end to what clients may take of a server's memory."""

from __future__ import annotations

from medic8.model.issue import Issue
from medic8.model.plan import Plan, Risk, Step, Unit
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.model.wording import size
from medic8.targets.planning import rests_on, value_of
from medic8.targets.valkey.looks.controller import Belonging
from medic8.targets.valkey.plans.planning import plan_of, set_one
from medic8.targets.valkey.policy import CLIENTS_SHARE, OUTPUT_LIMITS

LIMIT_CLIENT_BUFFERS = "limit_client_buffers"

_SIGNS = frozenset({"clients.output", "memory.client_buffers"})
_OUTPUT = "client-output-buffer-limit"
_TOGETHER = "maxmemory-clients"

#: All clients but the worst few must take less than one part in so many of a limit for all together.
_OTHERS_PART = 2

_NO_LIMIT = ("0", "0", "0")


def plan_limits(issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
    """
    Plan to have the server itself close clients for whom too much waits, where it has no limit for that.

    Only limits that end what is there now, so that it can be verified; those that somebody has set stay, and
    those of replicas are never touched. Whoever is beyond a limit is closed at once, which no undo brings
    back: a person has to agree.
    """
    steps = [*_together(report, target), *_single(report, target)] if rests_on(issue, report, _SIGNS) else []
    names = " and ".join(step.touches.removeprefix("setting ") for step in steps)
    return plan_of(
        LIMIT_CLIENT_BUFFERS,
        issue,
        report,
        target,
        [Unit(title="limits of clients' buffers", steps=tuple(steps))] if steps else [],
        summary=f"Set {names}. The server closes the clients that are beyond it, now and whenever it happens "
        "again; they may connect again.",
        nothing="No limit that is missing would end what clients take now.",
        risk=Risk.HIGH if steps else Risk.LOW,
        belongs=Belonging.SETTINGS,
    )


def _together(report: DiagnosticReport, target: Target) -> list[Step]:
    """
    A limit for all clients together, if there is none, and only the few that take too much are beyond it.

    Whom the server closes for it connects again and takes as much as before: if all the others were near the
    limit as well, everybody would be closed for ever, whoever wants to undo it included.
    """
    found = value_of(report, "memory", "memory.clients_limit")
    limit, taken = value_of(report, "memory", "memory.limit"), value_of(report, "memory", "memory.clients")
    others = value_of(report, "clients", "clients.others_take")
    if found != "0" or not isinstance(limit, int) or not isinstance(taken, int):
        return []
    if not isinstance(others, int):  # not all clients were seen, or they do not tell
        return []
    would_be = limit * CLIENTS_SHARE / 100
    if taken <= would_be or others >= would_be / _OTHERS_PART:
        return []
    return [set_one(target, _TOGETHER, "0", f"{CLIENTS_SHARE}%")]


def _single(report: DiagnosticReport, target: Target) -> list[Step]:
    """A limit for each client, for the classes that have none, if one of these clients is beyond it."""
    found = value_of(report, "memory", "memory.output_limits")
    most = value_of(report, "clients", "clients.most_output")
    classes = output_limits(found) if isinstance(found, str) else {}
    missing = [name for name in OUTPUT_LIMITS if classes.get(name) == _NO_LIMIT]
    if not isinstance(most, int) or not any(most >= OUTPUT_LIMITS[name][0] for name in missing):
        return []
    wanted = {**classes, **{name: tuple(map(str, OUTPUT_LIMITS[name])) for name in missing}}
    value = " ".join(" ".join((name, *limits)) for name, limits in wanted.items())
    step = set_one(target, _OUTPUT, str(found), value)
    words = ", ".join(f"{name} clients to {size(OUTPUT_LIMITS[name][0])}" for name in missing)
    return [step.model_copy(update={"title": f"limit the output that waits for {words} on {target.name}"})]


def output_limits(value: str) -> dict[str, tuple[str, ...]]:
    """The limits of each class of clients, as ``CONFIG GET client-output-buffer-limit`` shows them."""
    words = value.split()
    if len(words) % 4:
        return {}
    return {words[at]: tuple(words[at + 1 : at + 4]) for at in range(0, len(words), 4)}
