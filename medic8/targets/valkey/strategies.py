"""What can be done about the issues of a server, by the name that an allow-list spells."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.kind import Strategy
from medic8.targets.valkey.plans.certificate import RELOAD_CERTIFICATE, plan_reload
from medic8.targets.valkey.plans.clients import KILL_HOGGING_CLIENT, plan_kill_hogs
from medic8.targets.valkey.plans.dead_clients import (
    KEEP_CONNECTIONS_ALIVE,
    KILL_DEAD_CLIENTS,
    plan_keepalive,
    plan_kill_dead,
)
from medic8.targets.valkey.plans.memory import PURGE_MEMORY, plan_purge
from medic8.targets.valkey.plans.settings import SET_SETTINGS, plan_settings

#: The cheapest and safest first.
STRATEGIES: Mapping[str, Strategy] = {
    PURGE_MEMORY: plan_purge,
    RELOAD_CERTIFICATE: plan_reload,
    SET_SETTINGS: plan_settings,
    KEEP_CONNECTIONS_ALIVE: plan_keepalive,
    KILL_DEAD_CLIENTS: plan_kill_dead,
    KILL_HOGGING_CLIENT: plan_kill_hogs,
}
