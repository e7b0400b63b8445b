"""A large key is found where a sample misses it."""

from __future__ import annotations

import valkey

from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.key_sample import SampledKey
from medic8.targets.valkey.looks.large_keys import names_in, unexplained_bytes
from tests.targets.valkey.looking_at import found, look

_MIB = 1 << 20
_MANY = 60_000


def test_a_large_hash_among_many_keys_is_named(valkey_url: str) -> None:
    """Fifteen hundred of sixty thousand are sampled: memory that they do not explain is looked for."""
    with valkey.Valkey.from_url(valkey_url) as client:
        for start in range(0, _MANY, 5000):
            client.mset({f"row:{number}": "" for number in range(start, start + 5000)})
        for number in range(48):
            client.hset("catalogue:all", f"page:{number}", "x" * (256 << 10))
    result = look(valkey_url, "keys")
    large = found(result, "keys.large")
    assert any("hash catalogue:all in database 0" in each.what for each in large.evidence)
    assert "1 key so large was found" in large.text or "of all are so large" in large.text


def test_memory_that_the_sample_explains_is_not_looked_for() -> None:
    """Sixty thousand keys like those of the sample are as much as there is, give or take a twentieth."""
    sample = [SampledKey(b"row:%d" % number, 0, "string", 100, False) for number in range(100)]
    assert unexplained_bytes(sample, 60_000, Facts({"used_memory_dataset": "6200000"})) == 0
    assert unexplained_bytes(sample, 60_000, Facts({"used_memory_dataset": "18000000"})) == 12_000_000
    assert unexplained_bytes(sample, 100, Facts({"used_memory_dataset": "18000000"})) == 17_990_000
    assert unexplained_bytes(sample, 60_000, Facts({})) == 0


def test_of_slow_commands_only_keys_are_asked_about() -> None:
    """What else stands in a command may be a secret, and is no name of a key."""
    log = [
        [3, 1, 20_000, [b"HGETALL", b"catalogue:all"], b"a", b""],
        [2, 1, 20_000, [b"AUTH", b"secret"], b"a", b""],
        [1, 1, 20_000, [b"KEYS", b"*"], b"a", b""],
        [0, 1, 20_000, [b"hgetall", b"catalogue:all"], b"a", b""],
        [0, 1, 20_000, [b"SET"], b"a", b""],
        b"nonsense",
    ]
    assert names_in(log) == [b"catalogue:all"]
    assert names_in(None) == []
