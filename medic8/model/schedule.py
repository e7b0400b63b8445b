"""What runs by itself, how often and where."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from medic8.model.frozen import Frozen

#: What targets, queues and work pools are called.
NAME = r"^[a-z0-9][a-z0-9._-]*$"

#: A process is started for every run, which takes seconds of a processor: more often would only queue up.
LEAST_S = 10

_MOST_S = 366 * 86_400


def _not_too_often(seconds: int) -> int:
    if 0 < seconds < LEAST_S:
        raise ValueError(f"{seconds} seconds is less than {LEAST_S}; 0 is never")
    return seconds


Every = Annotated[int, Field(ge=0, le=_MOST_S), AfterValidator(_not_too_often)]


#: The flow by which a target is looked after, and the state of a run of it that could not heal.
HEALTH, NOT_HEALED = "health", "Not healed"

#: What the deployments are called by which a person has a target diagnosed.
DIAGNOSING = "diagnose a target"

#: What the deployments are called by which a person decides about a plan.
APPROVING = "decide on a plan"

#: The queue, the work pool and the name of a site that names none.
QUEUE, POOL, SITE = "default", "medic8", "default"

#: What the tag begins with that says whose a deployment is.
SITE_TAG = "site:"


class Deployments(Frozen):
    """
    Where runs that a person, a schedule or an alert starts are carried out.

    Attributes:
        site: What this site is told from others by that have deployments in the same work pool.
        pool: The work pool.
        queue: The queue of targets that name none.
    """

    site: str = Field(default=SITE, max_length=63, pattern=NAME)
    pool: str = Field(default=POOL, max_length=63, pattern=NAME)
    queue: str = Field(default=QUEUE, max_length=63, pattern=NAME)

    def named(self, name: str) -> str:
        """What a deployment called *name* is called on the server, where other sites may have theirs."""
        others = ((self.pool, POOL), (self.site, SITE))
        where = " ".join(own for own, usual in others if own != usual)
        return f"{where}: {name}" if where else name

    @property
    def site_tag(self) -> str:
        """The tag by which the deployments of this site are known."""
        return f"{SITE_TAG}{self.site}"

    def at(self, name: str, queue: str) -> str:
        """What the deployment is called of those that are there for each queue; most sites have only one."""
        return self.named(name if queue == QUEUE else f"{name} at {queue}")

    def health_of(self, target: str) -> str:
        """What the deployment is called by which the target of that name is looked after."""
        return self.named(f"health of {target}")


class TargetSchedule(Frozen):
    """
    What runs by itself for one target; None = as the site has it. Seconds between two runs, 0 = never.

    Attributes:
        health: Between two diagnoses.
        samples: Between two long looks, which see what grows.
        backup: Between two backups (kinds that are backed up).
        heal: Whether a diagnosis by schedule is followed by treatment, as far as ``mode`` and ``allow`` go.
    """

    health: Every | None = None
    samples: Every | None = None
    backup: Every | None = None
    heal: bool | None = None


class SiteSchedule(Frozen):
    """
    What runs by itself for every target that says nothing else, and for the site; in seconds, 0 = never.

    Attributes:
        health: Between two diagnoses of a target.
        samples: Between two long looks at a target.
        backup: Between two backups of a target.
        heal: Whether a diagnosis by schedule is followed by treatment.
        restore_interrupted: Between two looks for recoveries whose process has died.
        watch_schedules: Between two looks for schedules that have stopped.
        prune: Between two removals of what retention does not keep.
    """

    health: Every = 300
    samples: Every = 3600
    backup: Every = 0
    heal: bool = False
    restore_interrupted: Every = 60
    watch_schedules: Every = 600
    prune: Every = 86_400

    def of(self, own: TargetSchedule) -> SiteSchedule:
        """This with what a target has of its *own*."""
        return self.model_copy(update=own.model_dump(exclude_none=True))
