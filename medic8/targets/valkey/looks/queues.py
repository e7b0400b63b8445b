"""Lists that are pushed to and that nobody has ever taken anything from."""

from __future__ import annotations

from collections.abc import Sequence

from medic8.model.wording import shown
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Server
from medic8.targets.valkey.looks.key_sample import SampledKey, prefix_of

#: What takes elements from a list, or takes it away. Source: Valkey documentation, Commands, List.
_TAKES = [
    "lpop",
    "rpop",
    "blpop",
    "brpop",
    "lmpop",
    "blmpop",
    "lmove",
    "blmove",
    "rpoplpush",
    "brpoplpush",
    "ltrim",
    "lrem",
    "del",
    "unlink",
]
_PUSHES = ("lpush", "rpush", "lpushx", "rpushx")


def queues_of(server: Server, keys: Sequence[SampledKey]) -> frozenset[str]:
    """Prefixes of lists among *keys*, if nobody has ever taken anything from any list."""
    lists = {prefix_of(each.name) for each in keys if each.type == "list"}
    lists -= {prefix_of(each.name) for each in keys if each.type != "list"}
    return frozenset(map(shown, lists)) if lists and never_taken(server.info("commandstats")) else frozenset()


def never_taken(counts: Facts) -> bool:
    """
    Whether elements are pushed to lists and nobody has ever taken one, as long as the server has counted.

    Args:
        counts: The section ``commandstats`` of INFO.
    """
    calls = {name: each.number("calls") or 0 for name, each in counts.starting("cmdstat_")}
    return any(calls.get(each) for each in _PUSHES) and not any(calls.get(each) for each in _TAKES)
