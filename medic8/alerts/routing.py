"""Which target an alert is about, from its labels: the site's rules first, then what public rules mean."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from medic8.model.alert import Alert
from medic8.model.alerting import Alerting, AlertRule, Heartbeat
from medic8.model.frozen import Frozen
from medic8.model.issue import IssueType
from medic8.model.target import Target

#: Labels that say where something is, in the order in which they are believed: the target's name, its
#: address, the machine. Source: redis_exporter, node_exporter and blackbox_exporter with their usual
#: relabelling; Icinga, Nagios and Checkmk as `senders.monitoring` reads them.
PLACES = (
    "medic8_target",
    "target",
    "instance",
    "addr",
    "address",
    "service",
    "host",
    "hostname",
    "nodename",
    "node",
)

#: What public rules are called, the kinds of target that they mean, and the issue that they hint at.
#: Source: awesome-prometheus-alerts (Redis, Host and hardware, Blackbox); node-mixin. The first counts.
PUBLIC_RULES: tuple[tuple[str, tuple[str, ...], IssueType | None], ...] = (
    (r"(Redis|Valkey)(Down|RejectedConnections)", ("valkey", "grid"), IssueType.NETWORK),
    (
        r"(Redis|Valkey).*(Memory|Maxmemory|Connections|Evict)",
        ("valkey", "grid"),
        IssueType.RESOURCE_EXHAUSTION,
    ),
    (
        r"(Redis|Valkey).*(Slave|Replica|Replication|Master|Cluster)",
        ("valkey", "grid"),
        IssueType.SYNCHRONIZATION,
    ),
    (r"(Redis|Valkey).*(Slow|Latency)", ("valkey", "grid"), IssueType.SLOW_OPERATIONS),
    (r"(Redis|Valkey)", ("valkey", "grid"), None),
    (r"(Mem8|Grid).*(Corrupt|Checksum|Damage)", ("grid",), IssueType.GRID_CORRUPTION),
    (r"(Mem8|Grid)", ("grid",), None),
    (r"(Host|Node).*(Network|Conntrack)", ("host",), IssueType.NETWORK),
    (r"(Host|Node).*(Latency|Slow)", ("host",), IssueType.SLOW_OPERATIONS),
    (
        r"(Host|Node).*(Memory|Swap|Cpu|CPU|Disk|Filesystem|Inode|Oom|FileDescriptor)",
        ("host",),
        IssueType.RESOURCE_EXHAUSTION,
    ),
    (r"(Host|Node)", ("host",), None),
    (r"(Blackbox|Probe|Endpoint).*(Slow)", ("endpoint",), IssueType.SLOW_OPERATIONS),
    (r"(Blackbox|Probe|Endpoint)", ("endpoint",), IssueType.NETWORK),
    (r"(Process|Supervisor|Systemd)", ("process",), None),
)

_PUBLIC = tuple((re.compile(pattern), kinds, issue) for pattern, kinds, issue in PUBLIC_RULES)

#: The label of the alert's name in rules, beside the others.
ANY = "*"


class Route(Frozen):
    """
    Where an alert leads.

    Attributes:
        target: The target's name; empty if it names none that is known.
        issue: The issue that it hints at; None = none in particular.
        by: What led there, for people.
        look_back_s: For how long after the target is healed a repeat is an echo.
        is_ignored: Whether nothing is to be done about it.
    """

    target: str = ""
    issue: IssueType | None = None
    by: str = ""
    look_back_s: int
    is_ignored: bool = False


class Router:
    """
    Tells where alerts lead.

    Attributes:
        how: What the site says about them.
        targets: Everything under care.
    """

    def __init__(self, how: Alerting, targets: tuple[Target, ...]) -> None:
        self.how = how
        self.targets = targets
        self._named = functools.lru_cache(maxsize=10_000)(_Named(targets))

    def route(self, alert: Alert) -> Route:
        """Where *alert* leads; the first rule of the site that fits decides alone."""
        kinds, issue = meant_by(alert.name)
        for number, rule in enumerate(self.how.rule, start=1):
            if fits(rule, alert):
                return self._by_rule(rule, number, alert)
        name, label = self._target_in(alert, PLACES, kinds)
        return Route(
            target=name,
            issue=issue if name else None,
            by=f"label {label}" if name else "no label names a target",
            look_back_s=self.how.look_back_s,
        )

    def _by_rule(self, rule: AlertRule, number: int, alert: Alert) -> Route:
        kinds, meant = meant_by(alert.name)
        places = PLACES if rule.target_label is None else (rule.target_label,)
        name = rule.target or ("" if rule.ignore else self._target_in(alert, places, kinds)[0])
        return Route(
            target=name,
            issue=rule.issue or (meant if name else None),
            by=f"rule {number}",
            look_back_s=self.how.look_back_s if rule.look_back_s is None else rule.look_back_s,
            is_ignored=rule.ignore,
        )

    def _target_in(self, alert: Alert, places: Iterable[str], kinds: tuple[str, ...]) -> tuple[str, str]:
        """The target that a label names, and the label; empty if none does."""
        for label in places:
            value = alert.labels.get(label, "")
            if value and (name := self._named(value, kinds)):
                return name, label
        return "", ""


def heartbeat_of(alert: Alert, heartbeats: Iterable[Heartbeat]) -> Heartbeat | None:
    """The heartbeat that *alert* is a beat of; None if it is none."""
    return next((each for each in heartbeats if _has(each.match, alert)), None)


def around(name: str, targets: tuple[Target, ...]) -> tuple[str, ...]:
    """What stands on *name*, what it stands on, and what shares that: where alerts left out may be from."""
    known = {each.name: each for each in targets}
    beneath = set(known[name].beneath) if name in known else set()
    near = [
        each.name
        for each in targets
        if each.name in beneath or name in each.beneath or beneath & set(each.beneath)
    ]
    return tuple(each for each in near if each != name)


def fits(rule: AlertRule, alert: Alert) -> bool:
    """Whether *rule* is for *alert*."""
    return rule.source in {None, alert.source} and _has(rule.match, alert)


def meant_by(alertname: str) -> tuple[tuple[str, ...], IssueType | None]:
    """The kinds of target that a public rule of that name means, and the issue; none = it is not known."""
    return next(((kinds, issue) for pattern, kinds, issue in _PUBLIC if pattern.match(alertname)), ((), None))


def _has(match: dict[str, str], alert: Alert) -> bool:
    return all(name in alert.labels and value in {ANY, alert.labels[name]} for name, value in match.items())


class _Named:
    """The target that a value is the name, address or machine of; of several the kind that is meant."""

    def __init__(self, targets: tuple[Target, ...]) -> None:
        self._names = frozenset(each.name for each in targets)
        self._at = [(each, *_places_of(each)) for each in targets]

    def __call__(self, value: str, kinds: tuple[str, ...]) -> str:
        if value in self._names:
            return value
        wanted = _place(value)
        if wanted is None:
            return ""
        exact = [each for each, addresses, _ in self._at if wanted in addresses]
        # An exporter has a port of its own: then the machine is what it has in common with its target.
        near = [
            each
            for each, addresses, hosts in self._at
            if wanted[0] in hosts or any(host == wanted[0] for host, _ in addresses)
        ]
        for found in (exact, near):
            if of_kind := [each for kind in kinds for each in found if each.kind == kind]:
                return of_kind[0].name if found is exact or len(of_kind) == 1 else ""
            if len(found) == 1 and (found is exact or not kinds):
                return found[0].name
        return exact[0].name if exact and not kinds else ""


def _places_of(target: Target) -> tuple[set[tuple[str, int | None]], set[str]]:
    """The addresses of *target*, and the machines that its labels name."""
    address = _place(target.address)
    names = {target.labels[label].lower() for label in PLACES if label in target.labels}
    said = {place for each in names if (place := _place(each)) is not None}
    return {each for each in (address, *said) if each is not None}, names


def _place(value: str) -> tuple[str, int | None] | None:
    """Host and port of an address such as ``cache:6379`` or ``redis://cache:6379/0``; None if it is none."""
    try:
        parts = urlsplit(value if "://" in value else f"//{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host:
        return None
    usual = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379, "valkey": 6379, "valkeys": 6379}
    return ("127.0.0.1" if host == "localhost" else host, port or usual.get(parts.scheme))
