"""What can be done about the issues of a server, by the name that an allow-list spells."""

from __future__ import annotations

from collections.abc import Mapping

from medic8.targets.kind import Strategy
from medic8.targets.valkey.plans.clients import KILL_HOGGING_CLIENT, plan_kill_hogs
from medic8.targets.valkey.plans.limits import (
    KILL_IDLE_CLIENTS,
    RAISE_MEMORY_LIMIT,
    plan_kill_idle,
    plan_raise,
)
from medic8.targets.valkey.plans.memory import PURGE_MEMORY, plan_purge
from medic8.targets.valkey.plans.scale import SCALE_OUT, plan_scale
from medic8.targets.valkey.plans.settings import SET_SETTINGS, plan_settings
from medic8.targets.valkey.plans.slow import (
    FREE_LAZILY,
    KILL_SCRIPT,
    KILL_SLOW_CLIENT,
    plan_free_lazily,
    plan_kill_script,
    plan_kill_slow,
)

#: The cheapest and safest first.
STRATEGIES: Mapping[str, Strategy] = {
    PURGE_MEMORY: plan_purge,
    SET_SETTINGS: plan_settings,
    FREE_LAZILY: plan_free_lazily,
    RAISE_MEMORY_LIMIT: plan_raise,
    KILL_HOGGING_CLIENT: plan_kill_hogs,
    KILL_IDLE_CLIENTS: plan_kill_idle,
    KILL_SLOW_CLIENT: plan_kill_slow,
    KILL_SCRIPT: plan_kill_script,
    SCALE_OUT: plan_scale,
}
