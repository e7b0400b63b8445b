"""Everything a site has configured, checked and with its defaults filled in."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from pydantic import Field

from medic8.backups.place import BackupPlace
from medic8.errors import ConfigurationError
from medic8.model.alerting import Alerting
from medic8.model.approving import Approvals
from medic8.model.frozen import Frozen
from medic8.model.notice import Route
from medic8.model.policy import ObserverCheck, Policy
from medic8.model.saved import Keep
from medic8.model.schedule import Deployments, SiteSchedule
from medic8.model.target import Target


class Settings(Frozen):
    """
    What a site has configured.

    Attributes:
        targets: Everything under care, in the order of the file.
        unusable: Why a target cannot be used here and now, by its name: its password cannot be had.
        source: The file it was read from; None = there is no configuration.
        home: Folder of Medic8's own state.
        backups: Where the backups of all targets are.
        journal_url: The journal's database, with credentials; never printed.
        saved_state: Folder of what recoveries save before they change anything.
        max_saved_mib: Most MiB that one recovery may save.
        keep: For how long what they saved is kept.
        claims: Folder in which what is on this host is claimed; None = the usual one of this user.
        schedule: What runs by itself, unless a target says something else.
        deployments: Where that is carried out.
        policy: What binds runs that nobody has begun by hand.
        observer: When the one who looks is suspected.
        approvals: For how long a person is waited for.
        alerts: Who may send alerts, and what they are about.
        notify: Where people are told what happens.
        warnings: What works and should still be changed, one sentence each.
    """

    targets: tuple[Target, ...] = ()
    unusable: dict[str, str] = Field(default_factory=dict)
    source: Path | None = None
    home: Path
    backups: BackupPlace
    journal_url: str = Field(repr=False)
    saved_state: Path
    max_saved_mib: int = Field(default=1024, gt=0)
    keep: Keep = Keep()
    claims: Path | None = None
    schedule: SiteSchedule = SiteSchedule()
    deployments: Deployments = Deployments()
    policy: Policy = Policy()
    observer: ObserverCheck = ObserverCheck()
    approvals: Approvals = Approvals()
    alerts: Alerting = Alerting()
    notify: tuple[Route, ...] = ()
    warnings: tuple[str, ...] = ()

    def target(self, name: str) -> Target:
        """
        The target called *name*.

        Raises:
            ConfigurationError: there is none, and the message names those that are; or its password
                cannot be had.
        """
        for target in self.targets:
            if target.name == name:
                if name in self.unusable:
                    # Going on without a password would look like a server that refuses us.
                    raise ConfigurationError(self.unusable[name])
                return target
        known = [target.name for target in self.targets]
        if not known:
            raise ConfigurationError(f'target "{name}" is not known: {self.hint}')
        near = get_close_matches(name, known, n=1)
        question = f'; did you mean "{near[0]}"?' if near else ""
        names = ", ".join(f'"{each}"' for each in known)
        raise ConfigurationError(f'target "{name}" is not known; known are {names}{question}')

    def queue_of(self, target: Target) -> str:
        """The queue of the worker that can reach *target*."""
        return target.queue or self.deployments.queue

    def schedule_of(self, target: Target) -> SiteSchedule:
        """What runs by itself for *target*."""
        return self.schedule.of(target.schedule)

    @property
    def needs_gateway(self) -> bool:
        """Whether a gateway has anything to do: alerts to take in, plans that may wait, people to tell."""
        if self.alerts.source or self.notify:
            return True
        return any(each.may_wait_for_a_person for each in self.targets)

    @property
    def hint(self) -> str:
        """What to do when there are no targets."""
        if self.source is not None:
            return f"{self.source} has no [[target]]; add one"
        return (
            'there is no configuration; write "medic8.toml" with a [[target]] here, name one with --config, '
            'or start a local grid to try with "medic8 up"'
        )
