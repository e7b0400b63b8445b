"""What a target showed at one moment, kept so that what changes slowly can be seen."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from medic8.model.frozen import Frozen


class Sample(Frozen):
    """
    A few numbers of one moment.

    Attributes:
        at: When they were read.
        run: Of which run of the target's process; numbers of another run are not comparable.
        values: By name; each kind has its own.
    """

    at: datetime
    run: str
    values: dict[str, float] = Field(default_factory=dict)
