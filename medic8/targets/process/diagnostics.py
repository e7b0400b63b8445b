"""All looks at a process, in the order to take them: read-only, bounded, setting nothing."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.kind import Diagnostic
from medic8.targets.process.looks.activity import look_at_activity
from medic8.targets.process.looks.data import look_at_data
from medic8.targets.process.looks.descriptors import look_at_descriptors
from medic8.targets.process.looks.growth import look_at_growth
from medic8.targets.process.looks.health import look_at_health
from medic8.targets.process.looks.memory import look_at_memory
from medic8.targets.process.looks.presence import look_at_presence

DIAGNOSTICS: Mapping[str, Diagnostic] = {
    "presence": look_at_presence,
    "health": look_at_health,
    "memory": look_at_memory,
    "descriptors": look_at_descriptors,
    "activity": look_at_activity,
    "growth": look_at_growth,
    "data": look_at_data,
}
