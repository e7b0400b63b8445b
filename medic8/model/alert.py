"""What a sender says is wrong, in one form whoever says it."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from medic8.model.frozen import Frozen


class AlertStatus(StrEnum):
    """Whether it is still so."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(Frozen):
    """
    One alert: a hint where to look, and no diagnosis.

    Attributes:
        source: The configured source that sent it.
        fingerprint: What the sender knows it by, whenever it fires; ours over its labels if it says none.
        starts_at: Since when it fires; None = the sender does not say.
        ends_at: When it ended; None = it has not, or the sender does not say.
        status: Whether it fires.
        labels: What it is about; routing looks at nothing else.
        annotations: For people.
    """

    source: str
    fingerprint: str
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    status: AlertStatus
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    @property
    def identity(self) -> str:
        """64 digits that are the same for every repeat, and no others: of source, fingerprint and start."""
        begun = self.starts_at.isoformat() if self.starts_at else ""
        return hashlib.sha256(json.dumps([self.source, self.fingerprint, begun]).encode()).hexdigest()

    @property
    def name(self) -> str:
        """How its sender calls the rule; empty if it does not."""
        return self.labels.get("alertname", "")

    @property
    def is_firing(self) -> bool:
        """Whether it is still so, as far as its sender knows."""
        return self.status is AlertStatus.FIRING


class Malformed(Frozen):
    """
    An element of a batch that is no alert.

    Attributes:
        index: Where in the batch, from 0.
        reason: What is wrong with it.
        excerpt: How it begins, for whoever mends the sender.
    """

    index: int
    reason: str
    excerpt: str = ""


class Batch(Frozen):
    """
    What one request brought.

    Attributes:
        alerts: The alerts in it, in its order.
        malformed: What else was in it.
        left_out: So many more the sender had, and did not send.
    """

    alerts: tuple[Alert, ...] = ()
    malformed: tuple[Malformed, ...] = ()
    left_out: int = 0


def fingerprint_of(labels: dict[str, str]) -> str:
    """16 digits over *labels*, for a sender that names no fingerprint."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:16]
