"""Deletions that hold a server up, judged as pure functions and on a real server."""

from __future__ import annotations

import pytest
import valkey
from looking_at import found, look

from medic8.targets.valkey.looks.commands import parse_entry
from medic8.targets.valkey.looks.deletions import judge_deletions, judge_expiry, lazy_setting
from medic8.targets.valkey.looks.facts import Facts
from medic8.targets.valkey.looks.slow_command import SlowCommand
from tests.raw_clients import delete_large

DEL = "lazyfree-lazy-user-del"


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        ([b"DEL", b"key"], DEL),
        ([b"del", b"key", b"key"], DEL),
        ([b"DEL", *[b"key"] * 9], ""),
        ([b"UNLINK", b"key"], ""),
        ([b"FLUSHALL"], "lazyfree-lazy-user-flush"),
        ([b"FLUSHALL", b"SYNC"], ""),
        ([b"RENAME", b"a", b"b"], "lazyfree-lazy-server-del"),
        ([b"\xff"], ""),
        ([], ""),
    ],
)
def test_which_setting_frees_in_the_background(words: list[bytes], setting: str) -> None:
    """None where the command says how by itself, or is slow for its many keys."""
    assert lazy_setting(words) == setting
    entry = parse_entry([1, 2, 3, words, b"addr", b"name"])
    assert entry is not None
    assert entry.lazy == setting


def test_only_what_a_setting_would_have_spared_is_a_slow_deletion() -> None:
    """Already set: it cannot come again. Not told: nothing is judged. Short: nobody has noticed."""
    slow = [SlowCommand("DEL large", 0.0, 0.5, "", "", DEL)]
    (finding,) = judge_deletions(slow, Facts({DEL: "no"}))
    assert finding.objects == ({"name": DEL, "found": "no"},)
    assert judge_deletions(slow, Facts({DEL: "yes"})) == ()
    assert judge_deletions(slow, Facts({})) == ()
    assert judge_deletions([slow[0]._replace(took_s=0.05)], Facts({DEL: "no"})) == ()


def test_an_expiry_storm_stays_one_where_a_setting_does_not_help() -> None:
    """Found whatever is set; planned for only where something can be set."""
    assert judge_expiry(1, 0.4, Facts({})) == ()
    assert judge_expiry(None, 0.4, Facts({})) == ()
    (helped,) = judge_expiry(4, 0.4, Facts({"lazyfree-lazy-expire": "no"}))
    assert helped.objects == ({"name": "lazyfree-lazy-expire", "found": "no"},)
    (bare,) = judge_expiry(4, 0.4, Facts({"lazyfree-lazy-expire": "yes"}))
    assert bare.objects == ()


def test_a_slow_deletion_is_one_finding_and_none_once_it_is_set(valkey_url: str) -> None:
    """Not among the other slow commands as well."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.config_set(DEL, "no")
        delete_large(client)
        result = look(valkey_url, "commands")
        assert "DEL large" in found(result, "commands.slow_delete").text
        client.config_set(DEL, "yes")
        told = [each.text for each in look(valkey_url, "commands").findings]
        assert not [text for text in told if "DEL" in text]
