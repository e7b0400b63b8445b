"""What resolutions come to when they are counted."""

from __future__ import annotations

from datetime import datetime

from medic8.model.frozen import Frozen


class Wanted(Frozen):
    """
    Which resolutions are asked for; None = any.

    Attributes:
        target: Of this target.
        issue: About this type of issue.
        strategy: By this strategy.
        outcome: With this outcome.
        since: Begun at or after this time.
    """

    target: str | None = None
    issue: str | None = None
    strategy: str | None = None
    outcome: str | None = None
    since: datetime | None = None


class Tracked(Frozen):
    """
    One resolution as it is listed and counted; all else is in its flow run.

    Attributes:
        run: The flow run's id.
        name: The flow run's name.
        target: The target's name.
        kind: Its kind.
        issue: The type of issue; empty of an undo.
        strategy: The strategy tried; empty if none.
        outcome: How it ended; empty as long as nobody has said.
        state: The state that Prefect shows; empty as long as it is under way, or died.
        started_at: When it was begun.
        duration_s: How long it took; None as long as nobody has said.
        detect_s: How long the diagnosis took that found the issue; None if there was none.
        heal_s: From that diagnosis' end to the resolution's; None if the issue was not resolved, or in part.
    """

    run: str
    name: str
    target: str = ""
    kind: str = ""
    issue: str = ""
    strategy: str = ""
    outcome: str = ""
    state: str = ""
    started_at: datetime
    duration_s: float | None = None
    detect_s: float | None = None
    heal_s: float | None = None


class Share(Frozen):
    """
    A share that was seen, and where the true one lies.

    Attributes:
        hits: How many.
        of: Out of how many.
        low: Lower end of the 95 % interval (Wilson), 0 to 1.
        high: Its upper end.
    """

    hits: int
    of: int
    low: float
    high: float


class Spread(Frozen):
    """
    How long something took, over many: values that were seen, by the nearest rank.

    Attributes:
        count: How many were measured.
        median_s: Half of them took no longer.
        p95_s: 95 of 100 took no longer.
    """

    count: int
    median_s: float
    p95_s: float


class Statistics(Frozen):
    """
    What resolutions of one type of issue by one strategy came to.

    Attributes:
        issue: The type of issue; empty of undos.
        strategy: The strategy; empty where none was tried.
        count: How many resolutions.
        outcomes: How many ended so, by outcome; those that are under way or died are under an empty name.
        success: Those that resolved the issue, of all that changed the target or tried to.
        detect: How long the diagnoses took that found the issue; None if nothing was measured.
        heal: From the end of those to the end of the resolution, of those that resolved it.
    """

    issue: str
    strategy: str
    count: int
    outcomes: dict[str, int]
    success: Share
    detect: Spread | None = None
    heal: Spread | None = None


class StatisticsReport(Frozen):
    """
    Statistics of resolutions.

    Attributes:
        wanted: Which resolutions were counted.
        total: All of them together; its issue and strategy are empty.
        groups: By type of issue and strategy, in that order.
        missing: Runs that Prefect knows and that are not counted, since the index does not have them.
    """

    wanted: Wanted
    total: Statistics
    groups: tuple[Statistics, ...]
    missing: int = 0
