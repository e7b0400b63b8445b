"""Look at a server as a diagnosis does, for tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from medic8.analysis.analyzer import analyze
from medic8.analysis.causes import link_causes
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.model.issue import Finding
from medic8.model.report import DiagnosticReport, DiagnosticResult, reading
from medic8.model.target import Target
from medic8.targets.facts import Facts
from medic8.targets.kind import Surroundings, TargetKind
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.diagnostics import DIAGNOSTICS
from medic8.targets.valkey.kind import KIND
from medic8.targets.valkey.looks.memory import judge_buffers, judge_fragmentation

NOW = datetime(2026, 1, 2, tzinfo=UTC)
_USER = "ACL SETUSER medic8 on >PASSWORD "

#: The looks that say what clients take, and who owns the settings.
OF_CLIENTS = ("controller", "memory", "clients")
AROUND = Surroundings(backups=BackupPlace(url="/nonexistent"), now=NOW)


def a_target(url: str, **fields: object) -> Target:
    return Target.model_validate({"name": "server", "kind": "valkey", "url": url, **fields})


def as_user(url: str, *commands: str) -> str:
    """The address of *url* for a user who may do nothing but *commands*."""
    with connection(url) as admin:
        admin.acl_setuser(
            "limited", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=[*commands]
        )
    return url.replace("valkey://", "valkey://limited:any@")


def look(url: str, diagnostic: str, **fields: object) -> DiagnosticResult:
    return DIAGNOSTICS[diagnostic](a_target(url, **fields), AROUND)


def report_on(
    url: str, *, without: tuple[str, ...] = (), only: tuple[str, ...] = tuple(DIAGNOSTICS), **fields: object
) -> DiagnosticReport:
    """A report; with *only* the looks that a test is about it takes no two seconds."""
    target, around = a_target(url, **fields), replace(AROUND, diagnosis=uuid4().hex)
    return report_of(*(DIAGNOSTICS[name](target, around) for name in only if name not in without))


def report_of(*results: DiagnosticResult, kind: TargetKind = KIND) -> DiagnosticReport:
    """A report of what is given, judged as a real one."""
    analysis = analyze(results)
    return DiagnosticReport(
        target="server",
        kind=kind.name,
        results={each.diagnostic: each for each in results},
        analysis=analysis,
        issues=link_causes(
            detect_issues(analysis, kind.rules, target="server", at=NOW),
            {each.diagnostic: each for each in results},
            kind.causes,
        ),
        taken_at=NOW,
    )


def fragmented(allocator: str) -> DiagnosticReport:
    """What is seen where 900 MiB are resident and 100 MiB used; *allocator* empty = it does not say."""
    facts = Facts({"used_memory": str(100 << 20), "used_memory_rss": str(900 << 20)})
    named = reading("memory.allocator", allocator)
    return report_of(
        DiagnosticResult(
            diagnostic="memory",
            readings=(named,) if named else (),
            findings=judge_fragmentation(facts),
            taken_at=NOW,
        )
    )


def hogged(settings: dict[str, str], *, others: int | None = 1 << 20) -> DiagnosticReport:
    """What is seen where one of ten clients has 400 MiB of output waiting, and the *others* take so much."""
    taken = {"mem_clients_normal": str(400 << 20), "connected_clients": "10", "connected_slaves": "0"}
    readings = (
        reading("memory.output_limits", settings["client-output-buffer-limit"]),
        reading("memory.clients_limit", settings["maxmemory-clients"]),
        reading("memory.limit", 1 << 30, "bytes"),
        reading("memory.clients", 400 << 20, "bytes"),
    )
    clients = (
        reading("clients.most_output", 400 << 20, "bytes"),
        reading("clients.others_take", others, "bytes"),
    )
    return report_of(
        DiagnosticResult(
            diagnostic="memory",
            readings=tuple(each for each in readings if each),
            findings=judge_buffers(Facts(taken)),
            taken_at=NOW,
        ),
        DiagnosticResult(
            diagnostic="clients", readings=tuple(each for each in clients if each), taken_at=NOW
        ),
    )


def found(result: DiagnosticResult, code: str) -> Finding:
    """The one finding with *code*."""
    (finding,) = [each for each in result.findings if each.code == code]
    return finding


def rules_of_the_document() -> list[str]:
    """The ACL rules of the user that docs/diagnosis-of-servers.md describes."""
    document = Path(__file__).parents[3] / "docs" / "diagnosis-of-servers.md"
    (line,) = [line for line in document.read_text().splitlines() if line.startswith(_USER)]
    return line.removeprefix(_USER).split()
