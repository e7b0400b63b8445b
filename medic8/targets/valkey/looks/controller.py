"""Whether somebody else runs a server, and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from medic8.analysis.judging import fact
from medic8.model.frozen import Frozen
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import DiagnosticReport, DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.looks.asking import Refusal, looking

#: Label of a target by which a person says who runs it, where nothing on the server tells.
MANAGED_BY = "managed-by"

_HELLO = "__sentinel__:hello"

#: Who lets nothing at all be changed here; not there if nobody does.
READ_ONLY = "controller.read_only"

_CLUSTER = "Valkey Cluster"

#: Why nobody can say who owns the roles; not there if it was seen.
_ROLES_UNSEEN = "controller.roles_unseen"


class Belonging(StrEnum):
    """What of a server may belong to a controller."""

    ROLES = "roles"  #: who is primary, who replicates whom, which slots are where
    SETTINGS = "settings"  #: what CONFIG SET changes
    PROCESS = "process"  #: starting, stopping, the version
    FILES = "files"  #: snapshots and append-only files


_ROLES = frozenset({Belonging.ROLES})
_ALL = frozenset(Belonging)


class Controller(Frozen):
    """
    Who runs a server beside its users.

    Attributes:
        name: As people call it.
        owns: What it puts back, or expects to be asked for.
        sign: By what it was recognised.
        advice: Where its owner changes such things.
    """

    name: str
    owns: frozenset[Belonging]
    sign: str
    advice: str


#: By a field of INFO: what its value begins with, the controller, and where its owner sets things.
_FIELDS = (
    ("os", "Amazon ElastiCache", "Amazon ElastiCache", "in its parameter group"),
    ("rlec_version", "", "Redis Enterprise or Redis Cloud", "in its console, or with rladmin"),
    ("upstash_version", "", "Upstash", "in its console"),
)

#: By the host's name.
_HOSTS = (
    ("*.cache.amazonaws.com*", "Amazon ElastiCache", "in its parameter group"),
    ("*.memorydb.*.amazonaws.com*", "Amazon MemoryDB", "in its parameter group"),
    ("*.redis.cache.windows.net", "Azure Cache for Redis", "in the portal, advanced settings"),
    ("*.redisenterprise.cache.azure.net", "Azure Cache for Redis Enterprise", "in the portal"),
    ("*.redis.azure.net", "Azure Managed Redis", "in the portal"),
    ("*.upstash.io", "Upstash", "in its console"),
    ("*.aivencloud.com", "Aiven", "in its console, advanced configuration"),
    ("*.db.ondigitalocean.com", "DigitalOcean", "in its control panel"),
    ("*.redis-cloud.com", "Redis Cloud", "in its console"),
    ("*.redislabs.com", "Redis Cloud", "in its console"),
    ("*.svc", "Kubernetes (an operator or a chart)", "in the resource that describes it"),
    ("*.svc.cluster.local", "Kubernetes (an operator or a chart)", "in the resource that describes it"),
)


def look_at_controller(target: Target, around: Surroundings) -> DiagnosticResult:
    """Whether Sentinel, a cluster, an operator or a cloud service runs this server."""
    with looking(target) as server:
        facts = server.info("server", "cluster")
        sentinels = server.ask("PUBSUB", "NUMSUB", _HELLO, what="whether Sentinels watch")
        is_told = isinstance(sentinels, list) and len(sentinels) > 1
        config = server.try_one("CONFIG", "GET", "cluster-enabled")
        found = recognise(
            facts,
            sentinels=sentinels[1] if is_told else 0,
            has_config=not (isinstance(config, Refusal) and config.is_unknown),
            host=urlsplit(target.address).hostname or "",
            label=target.labels.get(MANAGED_BY, ""),
        )
        readings = [reading("controller", ", ".join(each.name for each in found) or "none")]
        readings += [
            reading(f"controller.owns.{belonging}", owner.name)
            for belonging in Belonging
            if (owner := next((each for each in found if belonging in each.owns), None))
        ]
        if _CLUSTER in {each.name for each in found}:
            readings.append(reading(READ_ONLY, _CLUSTER))
        if not is_told:
            readings.append(reading(_ROLES_UNSEEN, "PUBSUB NUMSUB was refused"))
        return server.result("controller", around, readings, judge_controllers(found))


def recognise(
    facts: Facts, *, sentinels: int, has_config: bool, host: str, label: str
) -> tuple[Controller, ...]:
    """
    Everybody who runs the server, by signs that do not come by chance.

    Args:
        facts: The sections ``server`` and ``cluster`` of INFO.
        sentinels: How many listen where Sentinels speak to each other.
        has_config: Whether the server has the command CONFIG under its name.
        host: The host's name in the target's address.
        label: Who runs it, as the target's label says; empty if it does not.
    """
    found = list(_services(facts, host))
    if label:
        found.append(
            Controller(
                name=label, owns=_ALL, sign=f"label {MANAGED_BY} of the target", advice="where it is told to"
            )
        )
    is_sentinel = "sentinel" in (facts.get("redis_mode"), facts.get("server_mode"))
    if not has_config and not found and not is_sentinel:
        found.append(
            Controller(
                name="somebody who renamed or removed CONFIG",
                owns=_ALL,
                sign="the server has no command CONFIG",
                advice="wherever its owner keeps its configuration",
            )
        )
    if sentinels:
        found.append(
            Controller(
                name="Sentinel",
                owns=_ROLES,
                sign=f"{sentinels} listen to {_HELLO}",
                advice="by SENTINEL FAILOVER and SENTINEL SET on a Sentinel",
            )
        )
    if is_sentinel:
        found.append(
            Controller(name="a Sentinel itself", owns=_ALL, sign="server_mode", advice="by SENTINEL SET")
        )
    if facts.get("cluster_enabled") == "1":
        found.append(
            Controller(
                name=_CLUSTER,
                owns=_ALL,  # our claim is one key, which lies on one of its nodes: the others are unguarded
                sign="cluster_enabled:1",
                advice="by CLUSTER FAILOVER, valkey-cli --cluster, and CONFIG SET on each node",
            )
        )
    return tuple(found)


def _services(facts: Facts, host: str) -> Iterator[Controller]:
    for field, beginning, name, advice in _FIELDS:
        if field in facts and facts[field].startswith(beginning):
            sign = f"{field}:{facts.text(field)}"
            yield Controller(name=name, owns=_ALL, sign=sign, advice=advice)
            return
    for pattern, name, advice in _HOSTS:
        if fnmatchcase(host.lower().rstrip("."), pattern):
            yield Controller(name=name, owns=_ALL, sign=f"host {pattern}", advice=advice)
            return


def judge_controllers(found: tuple[Controller, ...]) -> tuple[Finding, ...]:
    """Who runs the server is worth knowing, and nothing is wrong with it."""
    return tuple(
        finding
        for each in found
        for finding in fact(
            "controller.recognised",
            Severity.INFO,
            f"{each.name} runs this server; Medic8 only advises on its {', '.join(sorted(each.owns))}",
            about=each.name,
            evidence=(Evidence(what="recognised by", seen=each.sign),),
            advice=(f"change what belongs to it {each.advice}",),
        )
    )


def owner_of(belonging: Belonging, report: DiagnosticReport) -> str:
    """
    Who owns *belonging* of the server that *report* is about; empty if nobody does.

    What could not be seen is somebody's: that no Sentinel was seen proves nothing where we may not ask.
    """
    looked = report.results.get("controller")
    if looked is None or looked.reading("controller") is None:
        return "nobody knows whom (the diagnostic controller saw nothing)"
    owner = looked.reading(f"controller.owns.{belonging}")
    unseen = looked.reading(_ROLES_UNSEEN) if belonging is Belonging.ROLES else None
    if owner is None and unseen is not None:
        return f"nobody knows whom ({unseen.value})"
    return str(owner.value) if owner else ""
