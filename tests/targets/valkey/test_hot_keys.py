"""Keys that most look-ups are of, by what servers count, simulated and real."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from looking_at import AROUND, NOW, a_target, as_user, found, look

from medic8.model.issue import Finding, Severity
from medic8.model.sample import Sample
from medic8.samples import SampleStore
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.asking import looking
from medic8.targets.valkey.looks.hot_keys import Seen, judge_hot, lookups_to
from medic8.targets.valkey.looks.key_counters import Place, Watched, walk_on
from medic8.targets.valkey.looks.key_sample import databases
from medic8.targets.valkey.looks.keys import look_at_keys

FACTOR, DECAY_MIN, SECONDS = 10, 1, 1.0


@pytest.mark.parametrize(
    ("factor", "lookups", "counter"),
    [
        (0, 100, 104), (1, 1000, 49), (10, 1000, 18), (10, 100_000, 142), (100, 100_000, 49),
        (100, 1_000_000, 143),
    ],
)  # fmt: skip
def test_counters_mean_what_the_servers_documentation_says(factor: int, lookups: int, counter: int) -> None:
    """Source: valkey.conf, the table at lfu-log-factor; it rounds."""
    assert lookups_to(counter, factor) == pytest.approx(lookups, rel=0.25)


def test_counters_mean_what_a_real_server_counts(valkey_url: str) -> None:
    """By expectation: thirty thousand look-ups at once."""
    with connection(valkey_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
        client.set("key", "value")
        pipe = client.pipeline(transaction=False)
        for _ in range(30_000):
            pipe.get("key")
        pipe.execute()
        assert lookups_to(client.object("freq", "key"), FACTOR) == pytest.approx(30_000, rel=0.5)


def simulated(
    rates: Sequence[float], *, is_whole: bool = True, seed: int = 0, most: int = 5000, bare: bool = False
) -> Seen:
    """
    What a look sees of keys that were looked up so often each second for long.

    Args:
        rates: By key.
        is_whole: Whether it looked at all of them.
        seed: Of chance.
        most: Keys by lot.
        bare: Whether it looked when all that had ended.
    """
    chance = random.Random(seed)
    counters = [held_at(rate) for rate in rates]
    keys = [Place(0, b"key:%d" % number) for number in range(len(rates))]
    highest = sorted(range(len(rates)), key=lambda each: -counters[each])[:128]
    lot = chance.sample(range(len(rates)), min(most, len(rates)))
    now = {
        each: counters[each] if bare else counted_on(counters[each], rates[each] * SECONDS, chance)
        for each in {*highest, *lot}
    }
    counts = [0] * 256
    for counter in counters:
        counts[counter] += 1
    per_s = 0.0 if bare else sum(rates)
    return Seen(
        counts=counts,
        highest=[Watched(keys[each], counters[each], now[each]) for each in highest],
        others=[Watched(keys[each], counters[each], now[each]) for each in lot],
        keys=len(rates),
        is_whole=is_whole,
        lookups_per_s=per_s,
        commands_per_s=per_s,
        seconds=SECONDS,
        factor=FACTOR,
        decay_min=DECAY_MIN,
    )


def held_at(rate: float) -> int:
    """The counter of a key that was looked up so often each second for long."""
    return 0 if rate * 60 <= 1 else min(255, 5 + math.ceil((rate * 60 * DECAY_MIN - 1) / FACTOR))


def counted_on(counter: int, lookups: float, chance: random.Random) -> int:
    """A counter after some look-ups more, as the server counts. Source: valkey.conf, lfu-log-factor."""
    for _ in range(int(lookups + chance.random())):
        if counter < 255 and chance.random() < 1 / (max(0, counter - 5) * FACTOR + 1):
            counter += 1
    return counter


def zipf(keys: int, per_s: float, power: float = 1.0) -> list[float]:
    weights = [1 / (number + 1) ** power for number in range(keys)]
    return [per_s * each / sum(weights) for each in weights]


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(
    "rates",
    [
        zipf(4000, 12_000),
        zipf(4000, 12_000, 0.7),
        [0.3] * 20_000,
        [41.0] * 400 + [0.1] * 4000,
        [60.0, 60.0] + [41.0] * 120 + [0.1] * 20_000,  # full, and yet a hundredth of all
        [60.0] + [0.5] * 20_000,
        [9000.0] * 12 + [0.1] * 2000,  # spread over several
        [4000.0] + [0.01] * 2000,  # nobody has to wait for so few
    ],
)
def test_usual_traffic_has_no_hot_key(rates: list[float], is_whole: bool) -> None:
    """Some keys are always more popular than others."""
    for seed in range(3):
        found = judge_hot(simulated(rates, is_whole=is_whole, seed=seed))
        assert [each for each in found if each.severity is not Severity.INFO] == []


def hot(seen: Seen) -> Finding:
    (finding,) = judge_hot(seen)
    return finding


def test_a_key_that_takes_most_look_ups_is_named_though_its_counter_is_full() -> None:
    """By what is left of all look-ups; where only some keys were looked at, that it is busy is all."""
    rates = [9000.0, *zipf(4000, 200)]
    finding = hot(simulated(rates))
    assert (finding.code, finding.severity) == ("keys.hot", Severity.WARNING)
    assert "key key:0 takes at least" in finding.text
    share = float(finding.evidence[0].seen.rstrip("%")) / 100
    assert share * sum(rates) <= rates[0] * 1.01  # at least, and never more than it is
    some = hot(simulated(rates, is_whole=False))
    assert (some.code, some.severity) == ("keys.busy", Severity.INFO)
    assert judge_hot(simulated(rates, bare=True)) == ()
    several = hot(simulated([12_000.0, *zipf(4000, 2000)]))
    assert " keys (key:0, " in several.text  # of those that are full, nobody can tell which


def test_a_key_that_has_just_become_hot_is_named_by_its_own_counter() -> None:
    """Also where few keys were looked at: it went up often enough."""
    seen = simulated([0.1] * 2000, is_whole=False)
    up = Watched(Place(3, b"new\x1b[2J"), 60, 80)
    seen = seen._replace(highest=[up], lookups_per_s=15_000, commands_per_s=16_000)
    finding = hot(seen)
    assert finding.code == "keys.hot"
    assert finding.text.isprintable()
    assert judge_hot(seen._replace(highest=[up._replace(last=64)])) == ()
    assert judge_hot(seen._replace(commands_per_s=200_000)) == ()


def test_a_walk_that_is_broken_off_goes_on_where_it_ended(valkey_url: str) -> None:
    """Through all databases; each key that stays is met."""
    with connection(valkey_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
        for database, keys in ((0, 1500), (2, 500)):
            client.execute_command("SELECT", database)
            client.mset({f"key:{number}": "value" for number in range(keys)})
        met, start, walks = set[Place](), (0, 0), 0
        while walks == 0 or start != (0, 0):
            assert walks < 5000
            with looking(a_target(valkey_url)) as server:
                walk = walk_on(server, databases(server.info("keyspace")), start, 0.002)
            assert walk is not None
            assert not (walk.is_whole and walks)
            met |= set(walk.by_lot)
            start, walks = (walk.database, walk.cursor), walks + 1
        assert walks > 2
        assert met == {Place(0, b"key:%d" % each) for each in range(1500)} | {
            Place(2, b"key:%d" % each) for each in range(500)
        }


def test_what_earlier_looks_have_met_is_asked_about_again(valkey_url: str, tmp_path: Path) -> None:
    """And the next look goes on where the last one ended; after a restart it begins anew."""
    store = SampleStore(tmp_path / "hot-keys")
    around = Surroundings(backups=AROUND.backups, now=NOW, samples=SampleStore(tmp_path))
    with connection(valkey_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
        client.mset({f"key:{number}": "value" for number in range(100)})
        look_at_keys(a_target(valkey_url), around)
        (first,) = store.read("server")
        assert (first.values["database"], first.values["cursor"]) == (0, 0)
        run = first.run
        pipe = client.pipeline(transaction=False)
        for _ in range(2000):
            pipe.get("key:7")
        pipe.execute()
        # As if the last look had ended in a database behind all keys but one.
        client.execute_command("SELECT", 5)
        client.set("other", "value")
        values = {"database": 5.0, "cursor": 0.0, "key:0:key%3A7": 30.0, "key:0:gone": 9.0}
        store.add("server", Sample(at=NOW + timedelta(minutes=9), run=run, values=values))
        later = Surroundings(AROUND.backups, NOW + timedelta(minutes=10), samples=around.samples)
        result = look_at_keys(a_target(valkey_url), later)
        looked, highest = result.reading("keys.counters_looked_at"), result.reading("keys.highest_counter")
        assert looked is not None
        assert highest is not None
        assert (looked.value, int(highest.value) > 15) == (1, True)


def test_a_server_that_counts_no_look_ups_says_so(valkey_url: str) -> None:
    """With what a person can do; and what may not be asked is said as ever."""
    with connection(valkey_url) as client:
        client.set("key", "value")
        (text,) = [each for each in look(valkey_url, "keys").unseen if each.startswith("hot keys")]
        assert "maxmemory-policy noeviction" in text
        client.config_set("maxmemory-policy", "allkeys-lfu")
        result = look(as_user(valkey_url, "+@all", "-object"), "keys")
        assert "OBJECT FREQ" in {fact.what for fact in found(result, "diagnostic.partial").evidence}
