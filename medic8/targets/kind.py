"""What a kind of target brings along: how to look at it, judge it, plan for it and change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from medic8.analysis.causes import CauseRule
from medic8.analysis.detector import IssueRule
from medic8.analysis.remedy import Remedy
from medic8.analysis.threshold import Threshold
from medic8.backups.place import BackupPlace
from medic8.model.backup import BackupManifest, RestoreReport, RestoreWish, VerifyReport
from medic8.model.guard import GuardVerdict, HardReading, SoftGuard, SoftReading
from medic8.model.issue import Issue
from medic8.model.performance import AnalyzerResult
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Recovery
from medic8.model.report import DiagnosticReport, DiagnosticResult
from medic8.model.resolution import Change
from medic8.model.resources import ResourceMetrics, Tracked
from medic8.model.target import Resource, Target
from medic8.samples import SampleStore

if TYPE_CHECKING:  # with it ciphers come, which who reads a configuration does not need
    from medic8.backups.repository import Repository


class Progress(Protocol):
    """Told how far a long look has come."""

    def __call__(self, done: int, total: int) -> None:
        """*done* of *total* parts have been looked at."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Surroundings:
    """
    What a kind may use beside the target itself.

    Attributes:
        backups: Where the backups of all targets are.
        now: When the diagnosis or plan is made.
        progress: Told how far a long look has come.
        recoveries: Gives those with steps that were done since a time; None if nobody knows.
        samples: Where what changes slowly is kept; None = it is not.
        watch_s: For how long to look at what changes now; 0 = only for moments.
        claims: Folder in which what is on this host is claimed; None = the usual one of this user.
        diagnosis: Looks that are part of the same one may share what they read; empty = this one is alone.
    """

    backups: BackupPlace
    now: datetime
    progress: Progress = no_progress
    recoveries: Callable[[datetime], Iterable[Recovery]] | None = None
    samples: SampleStore | None = None
    watch_s: float = 0.0
    claims: Path | None = None
    diagnosis: str = ""


class Holds(StrEnum):
    """What a target holds of what a recovery changed."""

    YES = "yes"  #: it is the thing that was changed
    NOTHING = "nothing"  #: it is, and what was changed went with a restart
    SOMETHING_ELSE = "something_else"  #: the address leads to another thing now


class Session(Protocol):
    """
    One dedicated connection to a target, for changing it.

    It never reconnects and never retries: a lost connection is an error, since
    the server that answers next may not be the one that was looked at.
    """

    def resources(self) -> tuple[Resource, ...]:
        """The identities that the target stands for, with those that carry it, the nearest first."""

    def still_holds(self, recovery: Recovery) -> Holds:
        """Whether this is what *recovery* changed; nothing is put back into something else."""

    def stands_on(self) -> str:
        """What must stay as it is while a recovery runs: run id, role and replication id in one line."""

    def still_stands(self, recovery: Recovery) -> bool:
        """Whether the target is still what *recovery* was granted: on the same ground."""

    def tags_of(self, plan: Plan) -> tuple[str, ...]:
        """What decides where the claim must lie beside what *plan* changes; empty if one place suffices."""

    def take_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """
        Mark the target as ours for *lasts_s* seconds of its own clock.

        Raises:
            RefusedError: a recovery of another journal holds it; the message names it.
            FencedError: this journal has granted it to somebody else since.
        """

    def renew_claim(self, claim: Claim, *, lasts_s: float) -> None:
        """
        Hold the claim for *lasts_s* more seconds.

        Raises:
            ClaimGoneError: there is no claim.
            FencedError: it is another's.
        """

    def release_claim(self, claim: Claim) -> None:
        """Give the claim back if it is still ours."""

    def cut_off(self, claim: Claim) -> None:
        """Close connections that earlier owners of the recovery left open, where that can be done."""

    def capture(self, step: Step) -> bytes | None:
        """The logical value, in canonical form, of all that *step* touches; None if it is not there."""

    def prepare(self, step: Step) -> bytes | None:
        """
        The value that *step* is to write, in the same form, from proven sources only.

        Raises:
            RefusedError: no source proves a value.
        """

    def swap(self, step: Step, *, expected: bytes | None, new: bytes | None, claim: Claim) -> None:
        """
        Put *new* where *expected* is, in one atomic act guarded by *claim*.

        Raises:
            ChangedError: something else than *expected* is there; nothing was changed.
            FencedError: the claim is gone or another's; nothing was changed.
        """

    def as_of_now(self, step: Step, saved: bytes | None) -> bytes | None:
        """What became by itself of the value *saved* of *step*: None if its own expiry has passed since."""

    def by_hand(self, step: Step, value: bytes | None, *, file: str, offset: int) -> tuple[str, ...]:
        """
        The shell commands by which a person puts back what *step* found; none if there are none.

        Args:
            step: What was changed.
            value: What was saved.
            file: Where that lies, so that no value stands in a command.
            offset: From this byte on.
        """

    def took_effect(self, step: Step, recovery: str) -> bool | None:
        """Whether a one-way *step* of *recovery* took effect, by a mark that it left; None if none tells."""

    def verify(self, unit: Unit) -> None:
        """
        Look whether *unit* brought back what it is for.

        Raises:
            VerifyError: it did not; the message names the value seen and the limit.
        """


class Backups(Protocol):
    """How targets of a kind are backed up; all but `create` and `restore` need only the storage."""

    def repository(self, target: Target, place: BackupPlace) -> Repository:
        """The backups of *target*."""

    def create(
        self,
        target: Target,
        around: Surroundings,
        *,
        is_full: bool = False,
        prefix: str = "",
        names: tuple[str, ...] = (),
    ) -> BackupManifest:
        """
        Back *target* up; it is only read.

        Args:
            target: What to back up.
            around: Where to.
            is_full: Read and write everything, whatever earlier backups have.
            prefix: Only keys that begin so, where the kind has keys.
            names: Only these keys, where the kind has keys; empty is all.
        """

    def verify(self, target: Target, around: Surroundings, backup: BackupManifest) -> VerifyReport:
        """Read all of a backup again and compare it with its digests."""

    def restore(
        self, target: Target, around: Surroundings, backup: BackupManifest, wish: RestoreWish
    ) -> RestoreReport:
        """Write what *wish* asks for from a backup into *target*."""

    def packs_of_part(self, number: int, body: bytes) -> frozenset[str]:
        """Which packs a part of an index needs; see `sweep.PacksOf`."""


class Guards(Protocol):
    """What must not become worse while a recovery works on targets of a kind; nothing is set for it."""

    def soft_of(self, plan: Plan) -> tuple[SoftGuard, ...]:
        """The short list of soft guards that fits the strategy of *plan*."""

    def read_hard(
        self, target: Target, around: Surroundings, plan: Plan, known: Sequence[HardReading]
    ) -> tuple[HardReading, ...]:
        """
        Read what is exact; what may not be read says so.

        Args:
            target: What to look at.
            around: What may be used beside it.
            plan: What it touches is left out.
            known: What was read before the first change, to look at the same again; empty = this is it.
        """

    def judge_hard(
        self, before: Sequence[HardReading], after: Sequence[HardReading]
    ) -> tuple[GuardVerdict, ...]:
        """One verdict for each hard guard; pure."""

    def read_soft(self, target: Target, guards: Sequence[SoftGuard]) -> tuple[SoftReading, ...]:
        """Sample *guards*, in that order, for a second at most."""


class Diagnostic(Protocol):
    """A read-only, bounded look at a target."""

    def __call__(self, target: Target, around: Surroundings) -> DiagnosticResult:
        """
        Look.

        Raises:
            UnreachableError: the target did not answer or did not let us in.
            TransientError: it stopped answering half way.
        """


class PerformanceAnalyzer(Protocol):
    """A read-only look at how fast a target is, for ``watch_s`` seconds of *around* at most."""

    def __call__(self, target: Target, around: Surroundings, report: DiagnosticReport) -> AnalyzerResult:
        """
        Measure.

        Args:
            target: What to look at.
            around: What may be used beside it.
            report: Its diagnosis of a moment ago, so that nothing is read twice.
        Raises:
            UnreachableError: the target did not answer or did not let us in.
            TransientError: it stopped answering half way.
        """


class Strategy(Protocol):
    """A pure function from an issue and what is known to a plan."""

    def __call__(self, issue: Issue, report: DiagnosticReport, target: Target) -> Plan:
        """The plan; without units if it can do nothing about *issue*."""


@dataclass(frozen=True)
class TargetKind:
    """
    Everything the house knows about one kind of target.

    Attributes:
        name: As the configuration spells it.
        summary: One line for people.
        diagnostics: By name, in the order to run; the first tells whether the target answers.
        at_once: Those that mostly wait between two moments, and need not wait for each other.
        rules: Which findings are signs of which issue.
        thresholds: By name, from where on its diagnostics find something; a target may set others.
        causes: Which findings lead to which others, the most trusted first.
        causes_beneath: By the kind of what it stands on: which of that one's findings lead to its own. Clues
            look at what was read of that one.
        strategies: By the name that an allow-list spells, the cheapest and safest first.
        open_session: Opens the connection for changing a target.
        compare: The numbers of two reports that belong into a before/after table.
        requires: What is wrong with a target's configuration for this kind, one sentence each.
        backups: How they are backed up; None if they are not.
        guards: What must not become worse; None if nothing is watched.
        analyzers: By name, what measures how fast a target is.
        monitors: By name, what tells from a diagnosis how resources are used.
        tracked: What of a target's samples may fill up, by its diagnosis.
        remedies: By a finding's code, what is to be done where it tells of slowness or of a shortage.
        agrees: Whether a target's configuration agrees once and for all to a plan of this kind that would
            wait for a person.
    """

    name: str
    summary: str
    diagnostics: Mapping[str, Diagnostic]
    rules: tuple[IssueRule, ...]
    strategies: Mapping[str, Strategy]
    open_session: Callable[[Target, Surroundings], AbstractContextManager[Session]]
    compare: Callable[[DiagnosticReport, DiagnosticReport], tuple[Change, ...]]
    requires: Callable[[Target], tuple[str, ...]] = field(default=lambda _: ())
    at_once: frozenset[str] = frozenset()
    backups: Backups | None = None
    guards: Guards | None = None
    agrees: Callable[[Plan, Target], bool] = field(default=lambda _plan, _target: False)
    causes: tuple[CauseRule, ...] = ()
    causes_beneath: Mapping[str, tuple[CauseRule, ...]] = field(default_factory=dict)
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    analyzers: Mapping[str, PerformanceAnalyzer] = field(default_factory=dict)
    monitors: Mapping[str, Callable[[DiagnosticReport], tuple[ResourceMetrics, ...]]] = field(
        default_factory=dict
    )
    tracked: Callable[[DiagnosticReport], tuple[Tracked, ...]] = field(default=lambda _: ())
    remedies: Mapping[str, Remedy] = field(default_factory=dict)

    @property
    def turns(self) -> tuple[tuple[str, ...], ...]:
        """The diagnostics in the order to run; in one turn those that are made at the same time."""
        together = tuple(name for name in self.diagnostics if name in self.at_once)
        others = (name for name in self.diagnostics if name not in together[1:])
        return tuple(together if name in self.at_once else (name,) for name in others)
