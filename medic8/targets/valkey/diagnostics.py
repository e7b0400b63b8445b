"""All looks at a server, in the order to take them: read-only, bounded, setting nothing."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.kind import Diagnostic
from medic8.targets.valkey.looks.broken_off import steadily
from medic8.targets.valkey.looks.certificate import look_at_certificate
from medic8.targets.valkey.looks.clients import look_at_clients
from medic8.targets.valkey.looks.commands import look_at_commands
from medic8.targets.valkey.looks.config_file import look_at_config_file
from medic8.targets.valkey.looks.controller import look_at_controller
from medic8.targets.valkey.looks.errors import look_at_errors
from medic8.targets.valkey.looks.expiry import look_at_expiry
from medic8.targets.valkey.looks.files import look_at_files
from medic8.targets.valkey.looks.growth import look_at_growth
from medic8.targets.valkey.looks.host import look_at_host
from medic8.targets.valkey.looks.keys import look_at_keys
from medic8.targets.valkey.looks.memory import look_at_memory
from medic8.targets.valkey.looks.opening import look_at_the_way_in
from medic8.targets.valkey.looks.persistence import look_at_persistence
from medic8.targets.valkey.looks.replicas import look_at_replicas
from medic8.targets.valkey.looks.replication import look_at_replication
from medic8.targets.valkey.looks.server_log import look_at_log
from medic8.targets.valkey.looks.settings import look_at_settings

_LOOKS: Mapping[str, Diagnostic] = {
    "reachability": look_at_the_way_in,
    "certificate": look_at_certificate,
    "controller": look_at_controller,
    "memory": look_at_memory,
    "host": look_at_host,
    "clients": look_at_clients,
    "commands": look_at_commands,
    "errors": look_at_errors,
    "keys": look_at_keys,
    "expiry": look_at_expiry,
    "growth": look_at_growth,
    "persistence": look_at_persistence,
    "files": look_at_files,
    "replication": look_at_replication,
    "replicas": look_at_replicas,
    "log": look_at_log,
    "settings": look_at_settings,
    "config_file": look_at_config_file,
}

DIAGNOSTICS: Mapping[str, Diagnostic] = {name: steadily(name, look) for name, look in _LOOKS.items()}
