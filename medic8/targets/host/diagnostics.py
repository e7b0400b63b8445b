"""All looks at the host, in the order to take them: read-only, bounded, setting nothing."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.host.looks.activity import look_at_activity
from medic8.targets.host.looks.backups import look_at_backups
from medic8.targets.host.looks.clock import look_at_clock
from medic8.targets.host.looks.container import look_at_machine
from medic8.targets.host.looks.disks import look_at_disks
from medic8.targets.host.looks.files import look_at_files
from medic8.targets.host.looks.filling import look_at_filling
from medic8.targets.host.looks.history import look_at_history
from medic8.targets.host.looks.kernel_settings import look_at_kernel
from medic8.targets.host.looks.memory import look_at_memory
from medic8.targets.host.looks.network import look_at_network
from medic8.targets.host.looks.tables import look_at_tables
from medic8.targets.kind import Diagnostic

DIAGNOSTICS: Mapping[str, Diagnostic] = {
    "machine": look_at_machine,
    "activity": look_at_activity,
    "memory": look_at_memory,
    "disks": look_at_disks,
    "filling": look_at_filling,
    "network": look_at_network,
    "tables": look_at_tables,
    "kernel": look_at_kernel,
    "clock": look_at_clock,
    "history": look_at_history,
    "files": look_at_files,
    "backups": look_at_backups,
}
