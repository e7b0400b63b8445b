"""One deployment as it is to be on a Prefect server, and the words of its API for it."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pydantic import Field

from medic8.model.frozen import Frozen

#: The tag by which our deployments are known among others.
TAG = "medic8"

#: Every interval counts from here, so that a configuration is the same schedule whenever it is deployed.
_ANCHOR = datetime(2026, 1, 1, tzinfo=UTC)


class Schedule(Frozen):
    """
    How often a deployment runs by itself.

    Attributes:
        every_s: Seconds between two runs.
        offset_s: Seconds by which the first is late, so that targets do not all begin at once.
        parameters: What is other than in the form.
    """

    #: What it is known by among schedules that people add.
    SLUG: ClassVar[str] = "medic8"

    every_s: int
    offset_s: int
    parameters: dict[str, Any] = Field(default_factory=dict)

    @property
    def interval(self) -> dict[str, Any]:
        """The schedule as the API has it."""
        anchor = _ANCHOR + timedelta(seconds=self.offset_s)
        return {"interval": float(self.every_s), "anchor_date": anchor.isoformat(), "timezone": "UTC"}


class Wanted(Frozen):
    """
    A deployment.

    Attributes:
        flow: The flow's name.
        name: The deployment's.
        entrypoint: Where a worker finds the flow: an importable function.
        pool: The work pool.
        queue: The queue of it.
        description: For people, in Markdown.
        tags: What its runs are found by.
        form: The schema of its parameters.
        parameters: What a run gets where nothing else is said.
        at_a_time: A run that would begin while so many go on is left out; 0 = any number may.
        schedule: How it runs by itself; None = it does not.
    """

    flow: str
    name: str
    entrypoint: str
    pool: str
    queue: str
    description: str
    tags: tuple[str, ...] = (TAG,)
    form: dict[str, Any]
    parameters: dict[str, Any] = Field(default_factory=dict)
    at_a_time: int = 0
    schedule: Schedule | None = None

    @property
    def title(self) -> str:
        """How people and Prefect call it."""
        return f"{self.flow}/{self.name}"

    @property
    def fields(self) -> dict[str, Any]:
        """All but flow, name and schedule, as the API has them."""
        return {
            "entrypoint": self.entrypoint,
            "work_pool_name": self.pool,
            "work_queue_name": self.queue,
            "description": self.description,
            "tags": sorted(self.tags),
            "parameter_openapi_schema": self.form,
            "enforce_parameter_schema": True,
            "parameters": self.parameters,
            "concurrency_limit": self.at_a_time or None,
            "concurrency_options": {"collision_strategy": "CANCEL_NEW"} if self.at_a_time else None,
            # An importable function needs no folder, nothing to fetch, and no settings of its own.
            "path": None,
            "pull_steps": [],
            "job_variables": {},
        }


def offset_s(name: str, every_s: int) -> int:
    """Where in an interval *name* has its turn: always the same, and other names have others."""
    return zlib.crc32(name.encode()) % every_s if every_s else 0
