"""Faults in a server's settings, and how they are taken back."""

from __future__ import annotations

import random
from typing import cast

import valkey

from medic8.errors import RefusedError
from medic8.local.lab.bench import Bench
from medic8.local.lab.breakage import Harm
from medic8.model.target import SettingRule
from medic8.targets.valkey.client import setting

#: Where the lab's server itself remembers what its settings were before they were first changed.
BEFORE = "medic8:lab:settings"

#: What is broken where the configuration asks for nothing: no clients notice either of them.
_UNASKED = (
    SettingRule(name="tcp-keepalive", minimum=60, maximum=300),
    SettingRule(name="slowlog-max-len", minimum=128),
)


def setting_out_of_range(bench: Bench, rng: random.Random, strength: int) -> tuple[Harm, ...]:
    """Set *strength* settings to a value outside the range that the configuration asks for."""
    rules = bench.rules or _UNASKED
    if not 0 < strength <= len(rules):
        raise RefusedError(f"strength {strength}: there are rules for {len(rules)} settings")
    chosen = rng.sample(rules, strength)
    unseen = "" if bench.rules else " (no target has a rule for it, so that no diagnosis will notice)"
    harms = []
    for rule in chosen:
        before = change_setting(bench.client, rule.name, _outside(rule, rng))
        now = setting(bench.client, rule.name)
        harms.append(Harm(what=f"setting {rule.name} is {now} and was {before}{unseen}"))
    return tuple(harms)


def change_setting(client: valkey.Valkey, name: str, value: str, *, before: str = BEFORE) -> str:
    """
    Change a setting and have the server remember what it was at first.

    Args:
        client: To the lab's server.
        name: The setting's name.
        value: What it shall be.
        before: The key under which it is remembered.
    Returns:
        What it was just now.
    Raises:
        RefusedError: the server has no such setting.
    """
    now = setting(client, name)
    if now is None:
        raise RefusedError(f"the lab's server has no setting {name!r}")
    client.hsetnx(before, name, now)
    client.config_set(name, value)
    return now


def put_settings_back(client: valkey.Valkey, *, before: str = BEFORE) -> tuple[str, ...]:
    """Set every setting that was changed to what it was at first; says which."""
    remembered = cast("dict[bytes, bytes]", client.hgetall(before))
    lines = []
    for name, value in sorted(remembered.items()):
        client.config_set(name.decode(), value.decode())
        lines.append(f"setting {name.decode()} is {value.decode()} again")
    client.delete(before)
    return tuple(lines)


def _outside(rule: SettingRule, rng: random.Random) -> str:
    """A value that *rule* does not allow."""
    wrong = []
    if rule.minimum is not None and rule.minimum > 1:
        wrong.append(str(rule.minimum // 2))
    if rule.maximum is not None:
        wrong.append(str(rule.maximum * 2 + 1))
    if rule.one_of:
        wrong += [value for value in ("yes", "no") if value not in rule.one_of]
    if not wrong:
        raise RefusedError(f"no value outside the range of setting {rule.name!r} is known to the lab")
    return rng.choice(wrong)
