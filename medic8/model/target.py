"""One thing under care, and the identity behind it."""

from __future__ import annotations

from enum import StrEnum
from posixpath import normpath
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from medic8.model.endpoint import FailOver, HttpRequest, Vantage
from medic8.model.frozen import Frozen
from medic8.model.issue import IssueType
from medic8.model.schedule import NAME, TargetSchedule


class Mode(StrEnum):
    """What Medic8 may do to a target."""

    OBSERVE = "observe"  #: diagnose and plan only
    ACT = "act"  #: apply the strategies on the target's allow-list


class SettingRule(Frozen):
    """
    The range that one setting of a server must stay in.

    Attributes:
        name: The setting's name as in ``CONFIG GET``.
        minimum: Smallest good value, in the setting's own unit; None = no lower limit.
        maximum: Largest good value; None = no upper limit.
        one_of: The good values of a setting that is no number, the preferred first.
        issue: The type of issue that a value outside is a sign of; None = what the setting is about.
    """

    name: str = Field(min_length=1)
    minimum: int | None = None
    maximum: int | None = None
    one_of: tuple[str, ...] = ()
    issue: IssueType | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        has_range = self.minimum is not None or self.maximum is not None
        if has_range == bool(self.one_of):
            raise ValueError(f"setting {self.name!r} needs either minimum and/or maximum, or one_of")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"setting {self.name!r}: minimum {self.minimum} is above maximum {self.maximum}")
        return self


class ThresholdRule(Frozen):
    """
    From where on a site wants to hear of a value, instead of the standard limits.

    Attributes:
        name: The threshold's name, as the documentation of the kind lists it.
        warning: Limit in the threshold's unit, a share as a part of 1; None = the standard one.
        error: The same for the error.
    """

    name: str = Field(min_length=1)
    warning: float | None = Field(default=None, allow_inf_nan=False)
    error: float | None = Field(default=None, allow_inf_nan=False)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.warning is None and self.error is None:
            raise ValueError(f"threshold {self.name!r} needs warning, error, or both")
        return self

    @property
    def limits(self) -> dict[str, float | None]:
        """Both by their names."""
        return {"warning": self.warning, "error": self.error}


#: A key that gets an expiry must have so long left, at least: time for a person to take it back.
LEAST_EXPIRY_S = 3600

_MOST_EXPIRY_S = 10 * 366 * 86_400


class ExpiryRule(Frozen):
    """
    For how long keys of a prefix may live that a program has left without an expiry.

    Attributes:
        prefix: What their names begin with.
        after: Seconds; a key that gets an expiry has `LEAST_EXPIRY_S` left at least, also where this is less.
    """

    prefix: str = Field(min_length=1, max_length=200)
    after: int = Field(ge=1, le=_MOST_EXPIRY_S)

    @model_validator(mode="after")
    def _spares_what_is_ours(self) -> Self:
        for ours in ("m8:", "medic8:"):
            if ours.startswith(self.prefix) or self.prefix.startswith(ours):
                raise ValueError(
                    f"prefix {self.prefix!r} meets keys that begin with {ours!r}, which must not expire"
                )
        return self


class Scale(Frozen):
    """
    What gives a target more to live on: a command, or somebody who is asked over HTTP.

    Attributes:
        command: The program and its arguments; no shell reads them.
        dry_run: The same for a trial that changes nothing, called right before; empty = none.
        url: Asked by POST instead; may hold a secret, and is never printed.
        timeout_s: Longest it may take; less than a claim lasts.
    """

    command: tuple[str, ...] = ()
    dry_run: tuple[str, ...] = ()
    url: SecretStr | None = None
    timeout_s: float = Field(default=60.0, gt=0, le=90)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if bool(self.command) == (self.url is not None):
            raise ValueError("needs either command or url")
        if self.dry_run and not self.command:
            raise ValueError("dry_run goes with command; a url is asked with dry_run in its body")
        return self


#: Nothing in these is a program's own to let go.
_OF_SYSTEM = frozenset(
    {"bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr"}
)

#: But for these within.
_OF_PROGRAMS = ("/dev/shm/", "/run/user/")  # noqa: S108 - nothing is written there

#: Files are let go when nothing has been written to them for so long, and stay in quarantine for so long,
#: at least: time for a person to notice.
LEAST_PRUNE_S = 3600


class PruneRule(Frozen):
    """
    Which files of a folder may go when its file system fills up.

    Attributes:
        folder: The folder, without links on the way to it.
        patterns: What their names look like, as a shell has it: ``*.log.*``.
        older_than: Seconds for which nothing was written to them, at least.
        keep: Seconds that they stay in quarantine, from where they can be brought back.
        delete: Whether they are then deleted without anybody being asked again.
        recurse: Whether files in folders within are meant too.
    """

    folder: str
    patterns: tuple[str, ...] = Field(min_length=1)
    older_than: int = Field(ge=LEAST_PRUNE_S)
    keep: int = Field(default=7 * 86_400, ge=LEAST_PRUNE_S)
    delete: bool = False
    recurse: bool = False

    @model_validator(mode="after")
    def _spares_the_system(self) -> Self:
        if not self.folder.startswith("/") or normpath(self.folder) != self.folder:
            raise ValueError(f"folder {self.folder!r} must be whole, as /var/log/app, without . and ..")
        top = self.folder.split("/")[1]
        is_of_system = top in _OF_SYSTEM and not self.folder.startswith(_OF_PROGRAMS)
        if self.folder.count("/") == 1 or is_of_system:
            raise ValueError(f"folder {self.folder!r} is of the system: name one of a program within it")
        for pattern in self.patterns:
            if not pattern.strip() or "/" in pattern:
                raise ValueError(f"pattern {pattern!r} must be one for names, without a slash")
        return self


class ProcessCare(Frozen):
    """
    What is to be known of a process that it does not tell itself.

    Attributes:
        start: The command that starts it, if no supervisor does; no shell reads it.
        stop: The command that stops it; empty = it is asked to end by SIGTERM.
        check: A command that ends with 0 while the process does its work; empty = none.
        reload: The signal at which it reads its configuration and opens its logs again.
        timeout_s: Longest that it may take to stop, and to start.
        warm_up_s: For so long after its start it may grow without that being a leak.
        holds_data: Whether it holds data that a restart may lose; None = judged by what it runs.
        backups_of: The target whose backups hold its data.
        data_at: Address of the server that it is, with credentials; never printed. Goes with *promoted*.
        promoted: Address of the replica that took over from it, with credentials; never printed.
    """

    start: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    reload: Literal["HUP", "USR1", "USR2"] | None = None
    timeout_s: float = Field(default=30.0, gt=0, le=45)
    warm_up_s: int = Field(default=600, ge=0)
    holds_data: bool | None = None
    backups_of: str | None = None
    data_at: SecretStr | None = None
    promoted: SecretStr | None = None

    @model_validator(mode="after")
    def _can_be_started_again(self) -> Self:
        if self.stop and not self.start:
            raise ValueError("stop needs start: what is stopped has to be started again")
        if (self.data_at is None) != (self.promoted is None):
            raise ValueError("data_at and promoted go together: both servers are asked what they have")
        return self


class Target(Frozen):
    """
    One thing under care.

    Attributes:
        name: How people call it.
        kind: Which kind of target it is; the kinds known are listed by ``medic8 targets --kinds``.
        url: Address with credentials; never printed.
        grid: The grid's name on the server (kind ``grid``).
        mode: What Medic8 may do; without configuration it only diagnoses and plans.
        allow: Names of the strategies that may be applied when *mode* is ``act``.
        labels: Free words to group targets by.
        runs_on: Name of the target that it runs on, such as the host of a server; None = not said.
        depends_on: Names of the targets that it needs to do its work.
        queue: The queue of the worker that can reach it; None = the site's.
        schedule: What runs by itself for it.
        setting: Ranges that the server's settings must stay in (kind ``valkey``).
        expiry: For how long keys of which prefixes may live (kind ``valkey``).
        threshold: Limits of the kind that are others here.
        replicas: Addresses of the server's replicas with credentials; never printed.
        timeout_s: Longest wait for one reply of the target.
        scrub_mib_per_s: Most MiB per second a scrub may read; None = as fast as the server answers.
        idle_client_age_s: From so many seconds without a command on, a client may be closed where connections
            run out (kind ``valkey``).
        scale: What gives it more to live on (kind ``valkey``).
        prune: Which files may go when a file system fills up (kind ``host``).
        prune_backups: Whether backups that retention does not keep may go then, without anybody being asked
            again (kind ``host``).
        process: What is to be known of it beside its address (kind ``process``).
        request: What it is asked for (kind ``endpoint``).
        fail_over: How it is served by another server (kind ``endpoint``).
        vantage: From where else it is asked (kind ``endpoint``).
    """

    name: str = Field(min_length=1, max_length=63, pattern=NAME)
    kind: str
    url: SecretStr
    grid: str | None = None
    mode: Mode = Mode.OBSERVE
    allow: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    runs_on: str | None = None
    depends_on: tuple[str, ...] = ()
    queue: str | None = Field(default=None, max_length=63, pattern=NAME)
    schedule: TargetSchedule = TargetSchedule()
    setting: tuple[SettingRule, ...] = ()
    expiry: tuple[ExpiryRule, ...] = ()
    threshold: tuple[ThresholdRule, ...] = ()
    replicas: tuple[SecretStr, ...] = ()
    timeout_s: float = Field(default=5.0, gt=0, le=300)
    scrub_mib_per_s: float | None = Field(default=None, gt=0)
    idle_client_age_s: int = Field(default=3600, ge=1)
    scale: Scale | None = None
    prune: tuple[PruneRule, ...] = ()
    prune_backups: bool = False
    process: ProcessCare | None = None
    request: HttpRequest = HttpRequest()
    fail_over: FailOver | None = None
    vantage: tuple[Vantage, ...] = Field(default=(), max_length=8)

    @property
    def address(self) -> str:
        """The address with its credentials, for opening a connection and for nothing else."""
        return self.url.get_secret_value()

    @property
    def replica_addresses(self) -> tuple[str, ...]:
        """The replicas' addresses with their credentials, for opening connections and for nothing else."""
        return tuple(each.get_secret_value() for each in self.replicas)

    @property
    def beneath(self) -> tuple[str, ...]:
        """The names of the targets that it stands on, the nearest first, each once."""
        return tuple(dict.fromkeys((*((self.runs_on,) if self.runs_on else ()), *self.depends_on)))

    @property
    def may_wait_for_a_person(self) -> bool:
        """Whether there may be a plan for it that somebody has to agree to."""
        return self.mode is Mode.ACT and bool(self.allow)

    @property
    def grid_name(self) -> str:
        """The grid's name on the server: the target's own if the configuration names none."""
        return self.grid or self.name


class Resource(Frozen):
    """
    The identity behind a target, so that two names for one thing are seen to be one.

    Attributes:
        identity: ``kind:unique`` such as ``grid:<uuid>`` or ``valkey:<replication id>``.
        carries: What the resource is to the target, for people (``the grid``, ``its server``).
    """

    identity: str
    carries: str
