"""What must not become worse while a recovery works, as it was read and as it was judged."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from medic8.model.frozen import Frozen


class Verdict(StrEnum):
    """What the numbers before and after say."""

    BETTER = "better"
    UNCHANGED = "unchanged"
    WORSE = "worse"
    CANNOT_TELL = "cannot_tell"


class HardReading(Frozen):
    """
    Something exact, as it was at one moment.

    Attributes:
        guard: Which guard it is for.
        about: Which of several things of the guard, in a form that never is shown; empty = there is one.
        value: What was read, compared as text; empty if it could not be read.
        unseen: Why it could not be read; empty if it was.
    """

    guard: str
    about: str = ""
    value: str = ""
    unseen: str = ""


class SoftGuard(Frozen):
    """
    A number that varies by itself, and how much worse it may be before that counts.

    Attributes:
        name: What it is called.
        unit: Of its samples: ``seconds``, ``bytes`` or ``cores``.
        most_ratio: Times the value before that are still no harm.
        most_more: In its unit: more than the value before that is still no harm.
        load_unit: What its load is counted in.
        idle_load: Less load than this counts as this much.
        per_load: 0: the load is a rate, and the number may grow in proportion. Else the load is a total, and
            each unit of it that was added may have added so much to the number.
    """

    name: str
    unit: str
    most_ratio: float = Field(ge=1)
    most_more: float = Field(ge=0)
    load_unit: str
    idle_load: float = Field(default=1.0, gt=0)
    per_load: float = Field(default=0.0, ge=0)


class SoftReading(Frozen):
    """
    Samples of one soft guard, taken one after the other.

    Attributes:
        guard: What was sampled.
        samples: In the guard's unit.
        loads: What the clients asked for at each sample, in the guard's unit of load.
        unseen: Why it could not be read; empty if it was.
    """

    guard: SoftGuard
    samples: tuple[float, ...] = ()
    loads: tuple[float, ...] = ()
    unseen: str = ""


class GuardReadings(Frozen):
    """All that was read at one time."""

    hard: tuple[HardReading, ...] = ()
    soft: tuple[SoftReading, ...] = ()


class GuardVerdict(Frozen):
    """
    One guard, judged.

    Attributes:
        guard: Its name.
        is_hard: Whether it is exact, so that a violation undoes.
        before: What was read before the first change, in words.
        after: What was read after it, in words.
        verdict: Which way it went.
        reason: Why this is the verdict; empty where the numbers say it.
    """

    guard: str
    is_hard: bool
    before: str = ""
    after: str = ""
    verdict: Verdict
    reason: str = ""

    @property
    def in_words(self) -> str:
        """The guard in one line: what it was, what it is, and why that counts."""
        why = f" ({self.reason})" if self.reason else ""
        return f"{self.guard}: {self.before or 'nothing'} before, {self.after or 'nothing'} after{why}"
