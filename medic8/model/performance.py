"""
What a look at the speed of a target returns: analysis, bottlenecks, recommendations.

Field names follow the troubleshooting guide (``PerformanceTroubleshooter``, ``PerformanceReport``).
"""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from medic8.model.frozen import Frozen
from medic8.model.issue import Evidence, Finding, Severity
from medic8.model.report import Reading


class Latency(Frozen):
    """
    How long one thing took, by percentile: the mean hides what clients complain of.

    Attributes:
        what: What was timed.
        count: How many times.
        p50_s: Half of them took no longer, in seconds.
        p90_s: Nine of ten took no longer.
        p99_s: 99 of 100 took no longer; of fewer than 100 it is the slowest.
        slowest_s: The slowest.
    """

    what: str
    count: int = Field(ge=1)
    p50_s: float
    p90_s: float
    p99_s: float
    slowest_s: float


class TimeShare(Frozen):
    """
    Which part of a time one thing took.

    Attributes:
        what: A command, or a part of a request.
        calls: How often; None where it is not counted.
        took_s: Seconds in all.
        share: Of the whole, from 0 to 1.
    """

    what: str
    calls: int | None = None
    took_s: float
    share: float = Field(ge=0)


class Weight(Frozen):
    """
    How much of the time a finding explains, and what would be left without it.

    Attributes:
        code: The finding's.
        about: Of which object; empty = whichever.
        resource: What it is that is short or slow, for people; empty = as the kind calls it.
        explains: Share from 0 to 1; None = nobody can tell.
        of: What that is a share of.
        effect: What would be left without it, with numbers; empty = cannot be worked out.
        evidence: The numbers.
        against: What speaks against it being the bottleneck.
    """

    code: str
    about: str = ""
    resource: str = ""
    explains: float | None = Field(default=None, ge=0, le=1)
    of: str = ""
    effect: str = ""
    evidence: tuple[Evidence, ...] = ()
    against: tuple[str, ...] = ()


class AnalyzerResult(Frozen):
    """
    What one analyzer measured of one target.

    Attributes:
        analyzer: Its name.
        target: The target's name.
        kind: Its kind.
        latencies: How long things took.
        shares: What the time went to, the most first.
        readings: Rates, queues and utilisation.
        findings: What is beyond a limit of the target.
        weights: What is known of how much findings explain.
        assumptions: What the numbers rest on, and where that does not hold.
        unseen: What could not be looked at and why.
    """

    analyzer: str
    target: str
    kind: str
    latencies: tuple[Latency, ...] = ()
    shares: tuple[TimeShare, ...] = ()
    readings: tuple[Reading, ...] = ()
    findings: tuple[Finding, ...] = ()
    weights: tuple[Weight, ...] = ()
    assumptions: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


class PerformanceAnalysis(Frozen):
    """
    The results of all analyzers, of the target first and then of what it stands on.

    Attributes:
        results: In the order in which they were made.
    """

    results: tuple[AnalyzerResult, ...] = ()


class Bottleneck(Frozen):
    """
    What holds a target up.

    Attributes:
        target: Whose it is: the target, or one that it stands on.
        resource: The resource or component.
        text: One sentence.
        severity: How bad.
        explains: Which share of *of* it explains; None = nobody can tell.
        of: A share of what.
        code: The finding that it rests on.
        about: The finding's object.
        evidence: Numbers.
        against: What speaks against it.
        effect: What would be left without it; empty = cannot be worked out.
    """

    target: str
    resource: str
    text: str
    severity: Severity
    explains: float | None = None
    of: str = ""
    code: str
    about: str = ""
    evidence: tuple[Evidence, ...] = Field(min_length=1)
    against: tuple[str, ...] = ()
    effect: str = ""


class Recommendation(Frozen):
    """
    What to do, and why.

    Attributes:
        target: On which target.
        text: One sentence.
        reason: Which bottleneck or resource it is for.
        evidence: The facts that it rests on.
        expected_effect: With a number where one can be worked out; else says that there is none.
        effort: What it takes.
        risk: What can go wrong.
        strategy: Which strategy of the target's kind does it; empty = none does.
        is_allowed: Whether the target's allow-list has that strategy, and the target may be acted on.
        commands: What a person can do, one command or setting each.
    """

    target: str
    text: str
    reason: str
    evidence: tuple[Evidence, ...] = Field(min_length=1)
    expected_effect: str
    effort: str
    risk: str
    strategy: str = ""
    is_allowed: bool = False
    commands: tuple[str, ...] = ()


class PerformanceReport(Frozen):
    """
    What holds a target up, and what to do about it.

    Attributes:
        target: The target's name.
        kind: Its kind.
        analysis: What was measured.
        bottlenecks: The worst first.
        recommendations: In the order of the bottlenecks; empty if there are none.
        unseen: What could not be looked at and why.
        is_unreachable: The target did not answer.
        taken_at: When it began.
        duration_s: How long it took, in seconds.
    """

    target: str
    kind: str
    analysis: PerformanceAnalysis
    bottlenecks: tuple[Bottleneck, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    unseen: tuple[str, ...] = ()
    is_unreachable: bool = False
    taken_at: datetime
    duration_s: float = 0.0
