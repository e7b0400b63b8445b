"""One execution of a plan under a journal: what was saved, begun, done and undone."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum

from medic8.model.frozen import Frozen
from medic8.model.guard import GuardVerdict
from medic8.model.plan import Plan
from medic8.model.policy import Refusal
from medic8.model.report import DiagnosticReport
from medic8.model.target import Resource

#: The digest of a thing that is not there.
ABSENT = "absent"


def digest_of(content: bytes | None) -> str:
    """SHA-256 over a logical value in canonical form; `ABSENT` for None."""
    return ABSENT if content is None else hashlib.sha256(content).hexdigest()


class Fence(Frozen):
    """
    What an owner shows to be let in; compared for equality.

    A number alone is not enough: a server that crashes may come back with an
    older one, and a second journal counts on its own.

    Attributes:
        number: One above the highest known in the journal.
        nonce: Random, 32 hexadecimal digits.
    """

    number: int
    nonce: str

    @property
    def token(self) -> str:
        """The pair as it is stored in the target."""
        return f"{self.number}:{self.nonce}"


class Claim(Frozen):
    """
    What a target holds while a recovery works on it.

    Attributes:
        journal: Identity of the journal's database, so that a second journal is told apart.
        recovery: The recovery's id.
        fence: The pair that every change is guarded by.
        tags: Hash tags beside which it lies as well, on a server that compares within a slot only.
    """

    journal: str
    recovery: str
    fence: Fence
    tags: tuple[str, ...] = ()

    @property
    def content(self) -> bytes:
        """The claim as it is stored in the target, compared byte by byte."""
        return f"{self.journal} {self.recovery} {self.fence.token}".encode()


class Owner(Frozen):
    """
    The process that carries a recovery out.

    Attributes:
        machine: Machine id.
        boot: Boot id.
        pid_namespace: Inode of the pid namespace.
        pid: Process id.
        started_at: When the process was started, in clock ticks since boot.
        flow_run: The Prefect flow run it works for; empty = none.
    """

    machine: str
    boot: str
    pid_namespace: str
    pid: int
    started_at: int
    flow_run: str = ""


class StepState(StrEnum):
    """How far a step came, as the journal knows."""

    PLANNED = "planned"
    BEGUN = "begun"  #: may have been applied
    DONE = "done"
    COMMITTED = "committed"  #: its unit proved itself and stands, or it cannot be taken back
    UNDONE = "undone"
    CONFLICT = "conflict"  #: somebody else changed it since; theirs was left


class SavedItem(Frozen):
    """
    What one step found.

    Attributes:
        number: The step's number.
        offset: Where its value begins in the file of values, in bytes.
        length: Its length in bytes; None = there was nothing.
        digest: Digest of the value.
    """

    number: int
    offset: int
    length: int | None
    digest: str


class StepMark(Frozen):
    """
    How far a step came, on its way into the journal.

    Attributes:
        number: The step's number.
        state: How far.
        at: When it was done; None if that is known already.
    """

    number: int
    state: StepState
    at: datetime | None = None


class StepRecord(Frozen):
    """
    One step as the journal knows it.

    Attributes:
        number: Its place in the plan, from 0, over all units.
        unit: Its unit's place in the plan, from 0.
        title: The step's title.
        state: How far it came.
        saved_digest: Digest of what was there before.
        written_digest: Digest of what was to be written; empty while only planned.
        begun_at: When it was begun.
        done_at: When it was done.
        undone_at: When it was undone, found in conflict, or found to stand.
        note: What a person should know about it.
    """

    number: int
    unit: int
    title: str
    state: StepState = StepState.PLANNED
    saved_digest: str = ""
    written_digest: str = ""
    begun_at: datetime | None = None
    done_at: datetime | None = None
    undone_at: datetime | None = None
    note: str = ""


class RecoveryState(StrEnum):
    """Where a recovery stands."""

    OPEN = "open"
    HEALTHY = "healthy"  #: ended and verified
    RESTORED = "restored"  #: ended; everything declared is as it was, or kept by a proof
    NEEDS_PERSON = "needs_person"  #: ended as far as a program can; the rest is listed


class Recovery(Frozen):
    """
    One execution of a plan.

    Attributes:
        id: Unique over all journals.
        plan: What is carried out.
        resources: What the journal granted, all or none.
        claim: What the target holds meanwhile.
        owner: The process that carries it out.
        stands_on: What must stay as it is meanwhile: run id, role and replication id.
        state: Where it stands.
        saved_state: Folder that holds what was saved; empty before it is.
        saved_digest: Digest over the saved state's index.
        saved_items: How many values were saved.
        saved_bytes: How large they are together.
        pruned_at: When retention let go of the saved state; None as long as it is kept.
        opened_at: When it was granted.
        closed_at: When it ended.
        acknowledged_at: When a person said that they had dealt with it; None if nobody had to, or has yet.
        left: What is left for a person, one line each.
        steps: Every step of the plan.
        run: The Prefect flow run that opened it; empty = none.
        resolution: The flow run that is its resolution in the history; empty = none.
        ended_by: The flow run that ended it, if that was not the one that opened it; empty = none.
        opened_boot: Boot id of the machine on which it was opened; empty = unknown.
        opened_boot_s: When it was opened, in seconds since that boot: by a clock that nobody sets.
        has_lapsed: Whether, when this was read, its owner had not shown for a lease's time that it lives.
    """

    id: str
    plan: Plan
    resources: tuple[Resource, ...]
    claim: Claim
    owner: Owner
    stands_on: str
    state: RecoveryState = RecoveryState.OPEN
    saved_state: str = ""
    saved_digest: str = ""
    saved_items: int = 0
    saved_bytes: int = 0
    pruned_at: datetime | None = None
    opened_at: datetime
    closed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    left: tuple[str, ...] = ()
    steps: tuple[StepRecord, ...] = ()
    run: str = ""
    resolution: str = ""
    ended_by: str = ""
    opened_boot: str = ""
    opened_boot_s: float = 0.0
    has_lapsed: bool = False


class RecoveryResult(Frozen):
    """
    What carrying out a plan came to.

    Attributes:
        recovery: The recovery, ended.
        reason: Why it did not end healthy; empty if it did.
        after: The diagnosis that verified it; None if it did not come so far.
        was_outdated: Somebody else had changed what was saved; a new plan may succeed.
        guards: What must not become worse, judged as far as it came.
        refusal: The rule that stopped it half way; None if none did.
    """

    recovery: Recovery
    reason: str = ""
    refusal: Refusal | None = None
    was_outdated: bool = False
    guards: tuple[GuardVerdict, ...] = ()
    after: DiagnosticReport | None = None


class LeftOpen(Frozen):
    """
    An interrupted recovery that could not be ended now.

    Attributes:
        recovery: As the journal knew it.
        reason: Why, and what a person can do about it.
    """

    recovery: Recovery
    reason: str


class Sweep(Frozen):
    """
    What looking for interrupted recoveries came to.

    Attributes:
        ended: Recoveries that were ended.
        left_open: Those that could not be.
        told: Ids of recoveries of whose end the history was told now.
    """

    ended: tuple[Recovery, ...] = ()
    left_open: tuple[LeftOpen, ...] = ()
    told: tuple[str, ...] = ()
