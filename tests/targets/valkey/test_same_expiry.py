"""Keys that expire at one moment, and commands that take long each time, are found before it hurts."""

from __future__ import annotations

import time

from medic8.model.issue import IssueType
from medic8.targets.facts import Facts
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.looks.costly_calls import judge_calls
from tests.targets.valkey.looking_at import found, look, report_of

#: As many keys as that expire at a moment, or for so long each from when it was written on.
WRITE = """
for number = 1, 15000 do
    redis.call('SET', KEYS[1] .. ':' .. number, 'x', ARGV[1],
        ARGV[1] == 'PX' and ARGV[2] + math.floor(number / 10) or ARGV[2])
end
"""


def test_keys_that_expire_at_one_moment_are_found_before_they_do(valkey_url: str) -> None:
    """By the sample of keys and their exact times; such an issue is about slow operations."""
    at_ms = int((time.time() + 600) * 1000)
    with connection(valkey_url, timeout_s=30) as client:
        client.eval(WRITE, 1, "fare", "PXAT", str(at_ms))
        result = look(valkey_url, "keys")
    assert "fare" in found(result, "keys.expire_at_once").text
    (issue,) = report_of(result).issues
    assert issue.issue_type is IssueType.SLOW_OPERATIONS


def test_keys_of_one_batch_and_lifetime_are_no_finding(valkey_url: str) -> None:
    """They expire in the order in which they were written: nobody notices."""
    with connection(valkey_url, timeout_s=30) as client:
        client.eval(WRITE, 1, "page", "PX", "600000")
        assert look(valkey_url, "keys").findings == ()


def counted(name: str, calls: int, mean_us: float) -> Facts:
    return Facts({f"cmdstat_{name}": f"calls={calls},usec={calls * mean_us:.0f},usec_per_call={mean_us}"})


def test_a_command_that_takes_long_each_time_is_found_below_what_is_logged() -> None:
    """Of ten calls or more; what an operator sends, and what deletes, is judged elsewhere."""
    (finding,) = judge_calls(counted("keys", 20, 8000), counted("keys", 21, 8000))
    assert (finding.code, "KEYS" in finding.text) == ("commands.costly", True)
    assert judge_calls(counted("keys", 21, 8000), counted("keys", 21, 8000)) == ()  # nobody sends it now
    assert judge_calls(counted("keys", 1, 8000), counted("keys", 2, 8000)) == ()  # once is no habit
    assert judge_calls(counted("get", 20, 4), counted("get", 2000, 4)) == ()
    assert judge_calls(counted("bgsave", 20, 8000), counted("bgsave", 21, 8000)) == ()
