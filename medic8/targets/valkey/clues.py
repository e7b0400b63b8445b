"""What speaks for one finding on a server leading to another, and what against it."""

from __future__ import annotations

from medic8.analysis.causes import Clue, Results
from medic8.targets.valkey.looks.full_copies import LEAST_SYNCS
from medic8.targets.valkey.policy import POLICY

#: What the evidence of an expiry storm is called that says whose keys they are. It stands here, where other
#: kinds ask for clues about what they stand on, and need nothing that asks a server.
WHAT_EXPIRES = "what most keys that expire begin with"

#: What takes less than this of the limit did not fill the memory.
_LEAST_SHARE = 0.1

#: Below this share of its limit a server is not near it.
_NEAR = POLICY.memory_used.warning or 0.9

#: Clients that were cut off for what waited for them: once may be an accident.
_CUT_OFF = 2

#: So near to maxclients those that come at the same moment are turned away.
_FULL = 0.8


def _number(results: Results, diagnostic: str, name: str) -> float | None:
    result = results.get(diagnostic)
    found = result.reading(name) if result else None
    value = found.value if found else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def takes_much(*parts: str) -> Clue:
    """
    Whether some parts of the memory are a large share of its limit, and what is left would not come near it.

    A server whose data fill it by themselves has two faults, whatever else takes some of its memory.
    """

    def look(results: Results) -> bool | None:
        limit, used = (_number(results, "memory", f"memory.{name}") for name in ("limit", "used"))
        sizes = [size for part in parts if (size := _number(results, "memory", part)) is not None]
        if not limit or not sizes:
            return None
        return sum(sizes) >= _LEAST_SHARE * limit and (used is None or used - sum(sizes) < _NEAR * limit)

    named = " and ".join(part.removeprefix("memory.") for part in parts)
    return Clue(
        if_so=f"{named} take {_LEAST_SHARE:.0%} of the memory limit or more, and the rest is not near it",
        if_not=f"{named} take less than {_LEAST_SHARE:.0%} of the memory limit, or the rest is near it",
        look=look,
    )


def is_over(diagnostic: str, name: str, limit: float, if_so: str, if_not: str, *, says: bool = True) -> Clue:
    """Whether a reading is over a limit, which speaks for a link, or against it if it *says* so."""

    def look(results: Results) -> bool | None:
        value = _number(results, diagnostic, name)
        return None if value is None else (value > limit) is says

    return Clue(*((if_so, if_not) if says else (if_not, if_so)), look=look)


def is_so(diagnostic: str, name: str, if_so: str, if_not: str) -> Clue:
    """Whether a reading is true."""

    def look(results: Results) -> bool | None:
        result = results.get(diagnostic)
        found = result.reading(name) if result else None
        return None if found is None else found.value is True

    return Clue(if_so=if_so, if_not=if_not, look=look)


def _is_at_limit(results: Results) -> bool | None:
    used, limit = (_number(results, "memory", f"memory.{name}") for name in ("used", "limit"))
    return None if used is None or not limit else used >= 0.9 * limit


#: Whether a server is so full that it refuses what needs memory.
AT_LIMIT = Clue(
    if_so="used memory is at 90% of its limit or more",
    if_not="used memory is below 90% of its limit",
    look=_is_at_limit,
)


def many_connections(code: str) -> Clue:
    """Whether the connections that a finding counts are a large share of what maxclients allows."""

    def look(results: Results) -> bool | None:
        limit = _number(results, "clients", "clients.limit")
        found = [each.extent for each in results["clients"].findings if each.code == code] if limit else []
        return sum(found) >= _LEAST_SHARE * limit if limit and found else None

    return Clue(
        if_so=f"they are at least {_LEAST_SHARE:.0%} of what maxclients allows",
        if_not=f"they are less than {_LEAST_SHARE:.0%} of what maxclients allows",
        look=look,
    )


def is_full_of_clients() -> Clue:
    """Whether there is room for hardly any connection more."""

    def look(results: Results) -> bool | None:
        used, limit = (_number(results, "clients", f"clients.{name}") for name in ("connected", "limit"))
        return None if used is None or not limit else used >= _FULL * limit

    return Clue(
        if_so=f"{_FULL:.0%} or more of the connections that maxclients allows were in use",
        if_not=f"less than {_FULL:.0%} of the connections that maxclients allows were in use",
        look=look,
    )


def is_what_grows() -> Clue:
    """Whether streams that grow take half of the memory's growth or more."""

    def look(results: Results) -> bool | None:
        streams = _number(results, "growth", "growth.streams.rate")
        rates = [_number(results, "growth", f"growth.{name}.rate") for name in ("watched", "kept")]
        memory = next((each for each in rates if each), None)
        return None if streams is None or memory is None else streams >= memory / 2

    return Clue(
        if_so="streams take half of the growth or more",
        if_not="streams take less than half of the growth",
        look=look,
    )


def has_sufficed() -> Clue:
    """Whether the backlog and the buffers of replicas have held what they had to so far."""

    def look(results: Results) -> bool | None:
        copies = _number(results, "replication", "replication.full_syncs")
        cut_off = _number(results, "clients", "clients.cut_off_for_output") or 0
        return None if copies is None else copies < LEAST_SYNCS and cut_off < _CUT_OFF

    return Clue(
        if_so="full copies are not made again and again, so that the backlog has sufficed so far",
        if_not="full copies are made or broken off again and again, which no replica that is behind explains",
        look=look,
    )


def is_what_expires() -> Clue:
    """Whether most keys that expire begin as those do that will at one moment."""

    def look(results: Results) -> bool | None:
        named = [each.about for each in results["keys"].findings if each.code == "keys.expire_at_once"]
        storms = [each for each in results["commands"].findings if each.code == "commands.expiry_storm"]
        told = [fact.seen for each in storms for fact in each.evidence if fact.what == WHAT_EXPIRES]
        return (
            any(about.startswith(f"keys {seen.rpartition(':')[0]}…") for about in named for seen in told)
            if told
            else None
        )

    return Clue(
        if_so="most keys that expire are of those", if_not="most keys that expire are others", look=look
    )


def _asked_by_runaways(results: Results) -> list[str]:
    """The keys that the slowest commands of runaways name."""
    found = results["commands"].findings if "commands" in results else ()
    runs = [each for each in found if each.code == "commands.runaway"]
    asked = (fact.seen.partition(" ")[2].rpartition(": ")[0] for each in runs for fact in each.evidence[1:2])
    return [key for key in asked if key]


def is_what_is_read() -> Clue:
    """Whether the slowest command of a runaway is for the largest key."""

    def look(results: Results) -> bool | None:
        found = results["keys"].findings if "keys" in results else ()
        named = [fact.what for each in found if each.code == "keys.large" for fact in each.evidence[1:2]]
        return any(f" {key} in " in what for key in _asked_by_runaways(results) for what in named)

    return Clue(
        if_so="its slowest command is for the largest key",
        if_not="its slowest command is for another key",
        look=look,
    )


def is_what_is_added_to() -> Clue:
    """Whether the slowest command of a runaway is for a key that grows."""

    def look(results: Results) -> bool | None:
        found = results["growth"].findings if "growth" in results else ()
        named = [each.about.partition(" ")[2] for each in found if each.code == "keys.growing"]
        return not set(_asked_by_runaways(results)).isdisjoint(named)

    return Clue(
        if_so="its slowest command is for that key",
        if_not="its slowest command is for another key",
        look=look,
    )


def is_a_stream_that_grows() -> Clue:
    """Whether the largest key is one of those that grow."""

    def look(results: Results) -> bool | None:
        grow = [
            each.about
            for name in ("growth", "keys")
            for each in (results[name].findings if name in results else ())
            if each.code in {"keys.growing", "keys.growing_stream", "keys.pending"}
        ]
        large = [each for each in results["keys"].findings if each.code == "keys.large"]
        named = [each.what for finding in large for each in finding.evidence[1:2]]
        return any(what.startswith(f"{each} in ") for what in named for each in grow) if named else None

    return Clue(if_so="the largest key is that one", if_not="the largest key is another one", look=look)
