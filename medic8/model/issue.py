"""What is wrong with a target."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum

from pydantic import Field, JsonValue

from medic8.model.frozen import Frozen


class IssueType(StrEnum):
    """The six common issues of the troubleshooting guide."""

    GRID_CORRUPTION = "grid_corruption"
    MEMORY_LEAK = "memory_leak"
    SYNCHRONIZATION = "synchronization"
    SLOW_OPERATIONS = "slow_operations"
    RESOURCE_EXHAUSTION = "resource_exhaustion"
    NETWORK = "network"


class Severity(StrEnum):
    """How urgent it is for the person on call."""

    INFO = "info"  #: worth knowing, nothing is wrong
    WARNING = "warning"  #: will hurt if it stays
    ERROR = "error"  #: hurts now; some operations fail
    CRITICAL = "critical"  #: data is lost or about to be, or nothing works


class Evidence(Frozen):
    """
    One fact that speaks for an issue.

    Attributes:
        what: Which value was looked at.
        seen: The value seen, with its unit.
        limit: What it was held against; empty where there is no number.
    """

    what: str
    seen: str
    limit: str = ""


class CauseLink(Frozen):
    """
    Why an issue is taken to follow from another one.

    Attributes:
        cause: Fingerprint of the other.
        title: Its title.
        why: How the one leads to the other.
        support: What was seen that speaks for it, beside both being there.
        against: What was seen that speaks against it.
        target: The target that the other is an issue of; empty = the same.
    """

    cause: str
    title: str
    why: str
    support: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    target: str = ""


class Issue(Frozen):
    """
    What is wrong, with the evidence a person would ask for.

    Attributes:
        issue_type: One of the six.
        severity: How urgent it is.
        target: The target's name.
        title: One sentence fit for a pager.
        symptoms: What one notices, as the guide lists them.
        cause: Why, as far as it is known; empty = unknown.
        about: The object inside the target (``blocks 3, 17 of grid lab``, ``setting hz``).
        evidence: The facts.
        advice: What a person can do, one command or setting each; see `Finding`.
        extent: How many objects are concerned, so that half a cure is seen to be one.
        signs: Codes of the findings that it rests on.
        follows_from: What it is a symptom of, the cause named first and then others that are
            possible too; empty of a root.
        explains: Fingerprints of the issues whose named cause it is.
        watched_s: For so many seconds it was watched, and is gone only if as long a watch does not find it.
        detected_at: When the diagnosis that found it was taken.
    """

    issue_type: IssueType
    severity: Severity
    target: str
    title: str
    symptoms: tuple[str, ...] = ()
    cause: str = ""
    about: str
    evidence: tuple[Evidence, ...] = ()
    advice: tuple[str, ...] = ()
    extent: int = Field(default=1, ge=0)
    signs: tuple[str, ...] = ()
    follows_from: tuple[CauseLink, ...] = ()
    explains: tuple[str, ...] = ()
    watched_s: float = 0.0
    detected_at: datetime

    @property
    def fingerprint(self) -> str:
        """Equal for the same issue of the same object of the same target, whenever it is found."""
        identity = f"{self.target}\x00{self.issue_type}\x00{self.about}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]


class Finding(Frozen):
    """
    Something a diagnostic noticed; the detector makes issues of findings.

    Attributes:
        code: A stable name such as ``grid.damaged`` or ``memory.evicts``.
        severity: How urgent it is taken alone.
        text: One sentence for a person.
        about: The object inside the target.
        evidence: The facts.
        advice: What a person can do, one command or setting each; nothing of it is done by itself.
        extent: How many objects are concerned.
        objects: What a strategy has to know of each object that it may change, as plain data; the
            strategy parses it into a model of its own.
    """

    code: str = Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$")
    severity: Severity
    text: str
    about: str = ""
    evidence: tuple[Evidence, ...] = ()
    advice: tuple[str, ...] = ()
    extent: int = Field(default=1, ge=0)
    objects: tuple[dict[str, JsonValue], ...] = ()
