"""Find large keys that a sample does not hold: by slow commands, and by memory that nothing explains."""

from __future__ import annotations

import time
from collections.abc import Sequence

from medic8.model.wording import size
from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.asking import Refusal, Server
from medic8.targets.valkey.looks.command_words import FIRST_IS_A_KEY
from medic8.targets.valkey.looks.key_sample import Keyspace, SampledKey, look_at_names
from medic8.targets.valkey.policy import POLICY, ServerPolicy

#: Kinds in the order in which they are looked for: of what grows without a name of its own first. The server
#: leaves out the others itself, so that millions of small strings cost little.
_KINDS = ("hash", "zset", "set", "list", "stream", "string")

#: Longest that is searched, keys at a step of the scan, and the pause after it in which others are served.
_MOST_S = 1.0
_STEP = 1000
_PAUSE_S = 0.001

#: Keys that are asked about at once, entries of the log of slow commands, and different keys of it.
_BATCH = 100
_ENTRIES = 128
_MOST_NAMED = 16

#: Where the command stands in an entry of the log. Source: Valkey documentation, SLOWLOG GET.
_WORDS = 3

#: What is less than this share of all data, nothing has to explain: a sample estimates.
_LEAST_SHARE = 0.05


def slow_names(server: Server) -> list[bytes]:
    """Keys that slow commands in the server's log begin with, the newest first."""
    reply = server.try_one("COMMANDLOG", "GET", _ENTRIES, "slow")
    if isinstance(reply, Refusal):  # Redis, and Valkey before 8.1
        reply = server.try_one("SLOWLOG", "GET", _ENTRIES)
    return names_in(reply)


def names_in(reply: object) -> list[bytes]:
    """The keys in entries of COMMANDLOG or SLOWLOG, as far as their first argument is one."""
    found: dict[bytes, None] = {}
    for entry in reply if isinstance(reply, list) else ():
        words = entry[_WORDS] if isinstance(entry, list) and len(entry) > _WORDS else None
        match words:
            case [bytes() as command, bytes() as name, *_]:
                if command.upper().decode("ascii", "replace") in FIRST_IS_A_KEY:
                    found[name] = None
    return list(found)[:_MOST_NAMED]


def unexplained_bytes(sample: Sequence[SampledKey], total: int, facts: Facts) -> int:
    """
    Data that is in none of the keys of *sample*, nor in as many like them as there are; 0 if it is little.

    Args:
        sample: What was looked at.
        total: Keys that there are.
        facts: The section ``memory`` of INFO.
    """
    dataset = facts.number("used_memory_dataset")
    if dataset is None or (total and not sample):
        return 0
    left = dataset - sum(each.size_bytes or 0 for each in sample) * max(total / max(len(sample), 1), 1)
    return int(left) if left >= _LEAST_SHARE * dataset else 0


def look_for_large(
    server: Server,
    spaces: Sequence[Keyspace],
    sample: Sequence[SampledKey],
    facts: Facts,
    *,
    first: int,
    policy: ServerPolicy = POLICY,
) -> tuple[list[SampledKey], int, int]:
    """
    Large keys that *sample* does not hold, and what else the search for them tells.

    Args:
        server: Its connection ends up in another database.
        spaces: The databases with keys.
        sample: What was looked at.
        facts: The section ``memory`` of INFO.
        first: The database that the address names; the log of slow commands tells none.
        policy: The limits of the target.
    Returns:
        Those keys; how many large keys slow commands were sent for; and how many bytes of data no key
        explains, 0 if not all were looked at.
    """
    known = {(each.database, each.name) for each in sample}
    slow = slow_names(server)
    asked = look_at_names(server, slow, first) if slow and server.go_to(first) else []
    named = [each for each in asked if policy.key_bytes.severity(each.size_bytes)]
    found = [each for each in named if (each.database, each.name) not in known]
    total = sum(each.keys for each in spaces)
    left = unexplained_bytes(sample, total, facts) - sum(each.size_bytes or 0 for each in found)
    if policy.client_output.severity(left) and len(sample) < total:
        known |= {(each.database, each.name) for each in found}
        more, is_whole = _search(server, spaces, policy)
        more = [each for each in more if (each.database, each.name) not in known]
        found += more
        left -= sum(each.size_bytes or 0 for each in more)
        if not is_whole and not found:
            server.unseen.append(
                f"large keys: {size(left)} of data are in keys that {_MOST_S:g} s did not suffice to look at"
            )
        left = left if is_whole else 0
    return found, len(named), max(left, 0)


def _search(
    server: Server, spaces: Sequence[Keyspace], policy: ServerPolicy
) -> tuple[list[SampledKey], bool]:
    """Keys that are too large, and whether all were looked at."""
    found: list[SampledKey] = []
    until_s = time.perf_counter() + _MOST_S
    for kind in _KINDS:
        for space in spaces:
            cursor = b"0"
            if not server.go_to(space.database):
                continue
            while True:
                if time.perf_counter() >= until_s:
                    return found, False
                reply = server.ask("SCAN", cursor, "COUNT", _STEP, "TYPE", kind, what="large keys", words=1)
                if reply is None:
                    return found, False
                cursor, names = reply
                for start in range(0, len(names), _BATCH):
                    looked = look_at_names(server, names[start : start + _BATCH], space.database)
                    found += [each for each in looked if policy.key_bytes.severity(each.size_bytes)]
                    if time.perf_counter() >= until_s:
                        return found, False
                if cursor == b"0":
                    break
                time.sleep(_PAUSE_S)
    return list(dict.fromkeys(found)), True
