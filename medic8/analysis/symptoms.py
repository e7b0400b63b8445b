"""The guide's symptoms of each type of issue, and rules that name them."""

from __future__ import annotations

from medic8.analysis.detector import IssueRule
from medic8.model.issue import IssueType

#: The guide's symptoms, by the type of issue.
SYMPTOMS = {
    IssueType.GRID_CORRUPTION: ("Inconsistent data", "Failed operations", "Error messages"),
    IssueType.MEMORY_LEAK: ("Increasing memory usage", "Degraded performance", "System slowdown"),
    IssueType.SYNCHRONIZATION: ("Inconsistent state", "Race conditions", "Deadlocks"),
    IssueType.SLOW_OPERATIONS: ("High latency", "Poor response times", "Operation timeouts"),
    IssueType.RESOURCE_EXHAUSTION: ("High CPU usage", "Memory pressure", "I/O bottlenecks"),
    IssueType.NETWORK: ("Connection failures", "High latency", "Timeout errors"),
}


def rule_of(
    issue_type: IssueType, title: str, *codes: str, symptoms: tuple[str, ...] = (), cause: str = ""
) -> IssueRule:
    """
    The rule that findings with *codes* are signs of one issue.

    Args:
        issue_type: Which.
        title: One sentence fit for a pager; ``{target}`` and ``{about}`` are filled in.
        codes: The findings' codes.
        symptoms: Empty = all that the guide lists for such issues.
        cause: Why, as far as such findings tell.
    """
    return IssueRule(
        codes=frozenset(codes),
        issue_type=issue_type,
        title=title,
        symptoms=symptoms or SYMPTOMS[issue_type],
        cause=cause,
    )
