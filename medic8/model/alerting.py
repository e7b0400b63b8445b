"""What a site says about alerts: who may send them, what they are about, and how long they count."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import Field, SecretStr, model_validator

from medic8.model.frozen import Frozen
from medic8.model.issue import IssueType
from medic8.model.schedule import NAME


class Format(StrEnum):
    """The form of a sender's messages."""

    ALERTMANAGER = "alertmanager"  #: Prometheus' Alertmanager, webhook version 4
    GRAFANA = "grafana"  #: Grafana's alerting, webhook
    GENERIC = "generic"  #: a form of our own, for scripts
    CLOUDEVENTS = "cloudevents"  #: CloudEvents 1.0: structured, batched, binary
    PAGERDUTY = "pagerduty"  #: PagerDuty, webhook version 3
    MONITORING = "monitoring"  #: Icinga, Nagios and Checkmk: their macros as JSON


#: The header in which a sender signs by itself; another one can be named for each source.
SIGNATURE_HEADERS = {
    Format.GRAFANA: "X-Grafana-Alerting-Signature",
    Format.PAGERDUTY: "X-PagerDuty-Signature",
}
SIGNATURE_HEADER = "X-Medic8-Signature"


class AlertSource(Frozen):
    """
    Somebody who may send alerts.

    Attributes:
        name: What the address ends in that they are sent to.
        format: The form of its messages.
        token: What it says after ``Authorization: Bearer``; None = it does not.
        key: What it signs the body with, by HMAC with SHA-256; None = it does not.
        signature_header: Where the signature stands; empty = where senders of the format put it.
        client_certificate: Whether its certificate says who it is, which the gateway then has to ask for.
        certificate_name: A name that has to stand in that; empty = any of those that the gateway trusts.
        problem: Why its secret cannot be had here and now; empty if it can.
    """

    name: str = Field(min_length=1, max_length=63, pattern=NAME)
    format: Format
    token: SecretStr | None = None
    key: SecretStr | None = None
    signature_header: str = ""
    client_certificate: bool = False
    certificate_name: str = ""
    problem: str = ""

    @property
    def signed_in(self) -> str:
        """The header in which it signs, in lower case."""
        return (self.signature_header or SIGNATURE_HEADERS.get(self.format, SIGNATURE_HEADER)).lower()


class AlertRule(Frozen):
    """
    What alerts with certain labels are about; the first rule that fits decides.

    Attributes:
        match: Labels that the alert has, each with its value, or ``*`` for any.
        source: The source it comes from; None = any.
        target: The target that it is about; None = whose name or address *target_label* says.
        target_label: The label that says it.
        issue: The type of issue that it hints at; None = none in particular.
        look_back_s: For how long after it is healed the sender's rule still fires; None = as for all.
        ignore: Whether such alerts are kept, and nothing is done about them.
    """

    match: dict[str, str] = Field(default_factory=dict)
    source: str | None = None
    target: str | None = None
    target_label: str | None = None
    issue: IssueType | None = None
    look_back_s: int | None = Field(default=None, ge=0, le=86_400)
    ignore: bool = False

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if not self.match and self.source is None:
            raise ValueError("needs match, source, or both: it would be about every alert")
        if sum((self.target is not None, self.target_label is not None, self.ignore)) > 1:
            raise ValueError("needs one of target, target_label and ignore, not more")
        return self


class Heartbeat(Frozen):
    """
    An alert that always fires, so that its silence says that nobody watches.

    Attributes:
        name: What people call it.
        match: Labels by which it is known.
        every_s: It arrives at least so often.
    """

    name: str = Field(min_length=1, max_length=63, pattern=NAME)
    match: dict[str, str] = Field(min_length=1)
    every_s: int = Field(default=300, ge=10, le=7 * 86_400)


class Alerting(Frozen):
    """
    All of it.

    Attributes:
        source: Who may send.
        rule: What alerts are about, before the rules that are there anyway.
        heartbeat: Alerts whose silence counts.
        look_back_s: For how long after a target is healed a repeat is taken for an echo.
        expire_s: An alert nobody could be started for is given up after so long.
        per_s: Most requests a second by one source.
        burst: So many may come at once.
        max_body_kib: Largest body.
        keep_days: For how many days alerts that are over are kept.
    """

    source: tuple[AlertSource, ...] = ()
    rule: tuple[AlertRule, ...] = ()
    heartbeat: tuple[Heartbeat, ...] = ()
    look_back_s: int = Field(default=600, ge=0, le=86_400)
    expire_s: int = Field(default=3600, ge=60, le=7 * 86_400)
    per_s: int = Field(default=500, ge=1, le=100_000)
    burst: int = Field(default=2000, ge=1, le=1_000_000)
    max_body_kib: int = Field(default=4096, ge=16, le=65_536)
    keep_days: int = Field(default=30, ge=1, le=3650)
