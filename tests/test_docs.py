"""Documents say what is there: links, tests, commands and the coverage of the guide are held to the tree."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from medic8.cli.app import build_app

ROOT = Path(__file__).parents[1]
COVERAGE = ROOT / "docs" / "coverage.md"
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name in {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"} or path.is_relative_to(ROOT / "docs")
)

#: The troubleshooting guide, line by line, under the headings of docs/coverage.md.
GUIDE: dict[str, tuple[str, ...]] = {
    "Diagnostic tools": (
        "`SystemDiagnostics`",
        "`SystemDiagnostics.tools`",
        "`SystemDiagnostics.analyzer`",
        "`SystemDiagnostics.detector`",
        "`SystemDiagnostics.run_diagnostics`",
        "Run tools",
        "Analyze results",
        "Detect issues",
        "`DiagnosticReport`",
        "`DiagnosticReport.results`",
        "`DiagnosticReport.analysis`",
        "`DiagnosticReport.issues`",
        "`GridDiagnostics`",
        "`GridDiagnostics.grid_checker`",
        "`GridDiagnostics.consistency_validator`",
        "`GridDiagnostics.performance_analyzer`",
        "`GridDiagnostics.diagnose_grid`",
        "Check grid health",
        "Validate consistency",
        "Analyze performance",
        "`GridReport`",
        "`GridReport.health`",
        "`GridReport.consistency`",
        "`GridReport.performance`",
    ),
    "Issue resolution": (
        "`IssueResolver`",
        "`IssueResolver.strategies`",
        "`IssueResolver.validator`",
        "`IssueResolver.tracker`",
        "`IssueResolver.resolve_issue`",
        "Get strategy",
        "`UnsupportedIssue`",
        "Apply resolution",
        "Validate resolution",
        "Track resolution",
        "`Resolution`",
        "`RecoveryActions`",
        "`RecoveryActions.steps`",
        "`RecoveryActions.state_manager`",
        "`RecoveryActions.verifier`",
        "`RecoveryActions.execute_recovery`",
        "Save state: `state_manager.save_state`",
        "Execute steps: `step.execute`",
        "Rollback on error: `state_manager.restore_state`",
        "Verify recovery: `verifier.verify_recovery`",
    ),
    "Performance troubleshooting": (
        "`PerformanceTroubleshooter`",
        "`PerformanceTroubleshooter.analyzers`",
        "`PerformanceTroubleshooter.bottleneck_detector`",
        "`PerformanceTroubleshooter.optimization_advisor`",
        "`PerformanceTroubleshooter.troubleshoot_performance`",
        "Run analysis",
        "Detect bottlenecks",
        "Get optimization advice",
        "`PerformanceReport`",
        "`PerformanceReport.analysis`",
        "`PerformanceReport.bottlenecks`",
        "`PerformanceReport.recommendations`",
    ),
    "Resource troubleshooting": (
        "`ResourceTroubleshooter`",
        "`ResourceTroubleshooter.monitors`",
        "`ResourceTroubleshooter.usage_analyzer`",
        "`ResourceTroubleshooter.optimizer`",
        "`ResourceTroubleshooter.troubleshoot_resources`",
        "Monitor resources",
        "Analyze usage",
        "Get optimization suggestions",
        "`ResourceReport`",
        "`ResourceReport.usage`",
        "`ResourceReport.analysis`",
        "`ResourceReport.optimizations`",
    ),
    "Memory: grid corruption": (
        "Symptom: Inconsistent data",
        "Symptom: Failed operations",
        "Symptom: Error messages",
        "Resolution: Run grid diagnostics",
        "Resolution: Repair corrupted cells",
        "Resolution: Restore from backup if needed",
    ),
    "Memory: memory leaks": (
        "Symptom: Increasing memory usage",
        "Symptom: Degraded performance",
        "Symptom: System slowdown",
        "Resolution: Identify leaking resources",
        "Resolution: Release unused memory",
        "Resolution: Optimize memory usage",
    ),
    "Memory: synchronization issues": (
        "Symptom: Inconsistent state",
        "Symptom: Race conditions",
        "Symptom: Deadlocks",
        "Resolution: Check synchronization mechanisms",
        "Resolution: Fix race conditions",
        "Resolution: Implement proper locking",
    ),
    "Performance: slow operations": (
        "Symptom: High latency",
        "Symptom: Poor response times",
        "Symptom: Operation timeouts",
        "Resolution: Identify bottlenecks",
        "Resolution: Optimize critical paths",
        "Resolution: Scale resources",
    ),
    "Performance: resource exhaustion": (
        "Symptom: High CPU usage",
        "Symptom: Memory pressure",
        "Symptom: I/O bottlenecks",
        "Resolution: Monitor resource usage",
        "Resolution: Optimize resource allocation",
        "Resolution: Scale infrastructure",
    ),
    "Performance: network issues": (
        "Symptom: Connection failures",
        "Symptom: High latency",
        "Symptom: Timeout errors",
        "Resolution: Check network connectivity",
        "Resolution: Optimize network usage",
        "Resolution: Implement retries",
    ),
    "Systematic approach": ("Identify symptoms", "Collect diagnostics", "Analyze root cause"),
    "Resolution process": ("Plan resolution steps", "Test solutions", "Verify fixes"),
    "Prevention": ("Regular monitoring", "Proactive maintenance", "System optimization"),
    "Issue tracking": ("Document symptoms", "Record resolution steps", "Track outcomes"),
    "Knowledge base": ("Maintain solutions", "Share best practices", "Update documentation"),
    "Process improvement": ("Learn from issues", "Update procedures", "Enhance monitoring"),
    "Enhanced diagnostics": ("AI-based diagnostics", "Predictive analysis", "Automated resolution"),
    "Better tools": ("Advanced debugging", "Visual diagnostics", "Real-time analysis"),
    "Improved prevention": ("Predictive maintenance", "Automated optimization", "Self-healing systems"),
}

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_TEST = re.compile(r"\b(tests/[\w/.-]+\.py)(?:::(\w+))?")
_CALL = re.compile(r"^\s*(?:\S*/)?medic8 (.+)$", re.MULTILINE)


def read(document: str) -> str:
    return (ROOT / document).read_text()


def prose(text: str) -> str:
    """*text* without its blocks of code, where brackets are no links."""
    return _FENCE.sub("", text)


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a document's headings, as the forges make them."""
    headings = re.findall(r"^#+ (.+)$", prose(path.read_text()), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@cache
def functions(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def broken_links(document: str) -> Iterator[str]:
    for target in _LINK.findall(prose(read(document))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (ROOT / document).parent / file if file else ROOT / document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            yield target


def calls(text: str) -> Iterator[tuple[str, ...]]:
    """The words of every call of ``medic8`` in code, without comments and what is passed on."""
    code = [*re.findall(r"`([^`\n]+)`", prose(text)), *_FENCE.findall(text)]
    for call in _CALL.findall("\n".join(code)):
        yield tuple(re.split(r"\s+#|[;|<>]", call)[0].split())


@cache
def command_line() -> Any:
    return typer.main.get_command(build_app())


def what_is_unknown_in(call: tuple[str, ...]) -> str:
    """The first command or option of *call* that the command line does not have; empty if all is known."""
    command = command_line()
    options = {option for parameter in command.params for option in parameter.opts}
    for word in call:
        option = word.strip("[]").partition("=")[0]
        if option.startswith("--"):
            if option not in {*options, "--help"}:
                return word
        elif (known := getattr(command, "commands", None)) and re.fullmatch(r"[a-z][a-z_-]*", word):
            if word not in known:
                return word
            command = known[word]
            options |= {option for parameter in command.params for option in parameter.opts}
    return ""


def rows_of_coverage() -> dict[str, list[list[str]]]:
    """The cells of every row, by the heading above it."""
    rows: dict[str, list[list[str]]] = {}
    heading = ""
    for line in COVERAGE.read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| ") and not line.startswith("| line of the guide"):
            rows.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    """To a file that exists, and to a heading in it."""
    assert list(broken_links(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_named_in_a_document_exists(document: str) -> None:
    """A claim names a test that anybody can run."""
    named = _TEST.findall(read(document))
    assert [name for name in named if not (ROOT / name[0]).is_file()] == []
    assert [name for name in named if name[1] and name[1] not in functions(ROOT / name[0])] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_named_in_a_document_exists(document: str) -> None:
    """With its options; who copies a command at night must not meet a usage message."""
    unknown = {" ".join(call): word for call in calls(read(document)) if (word := what_is_unknown_in(call))}
    assert unknown == {}


def test_every_line_of_the_guide_has_its_row() -> None:
    """None is missing, none is added, in the guide's order."""
    rows = {heading: tuple(row[0] for row in found) for heading, found in rows_of_coverage().items()}
    assert rows == GUIDE


def test_a_line_that_is_covered_says_where_how_and_by_which_test() -> None:
    """A row is empty until all three are true."""
    rows = [row for found in rows_of_coverage().values() for row in found]
    assert {len(row) for row in rows} == {4}
    assert [row[0] for row in rows if len({bool(cell) for cell in row[1:]}) > 1] == []
    assert [row[0] for row in rows if row[3] and not _TEST.findall(row[3])] == []
