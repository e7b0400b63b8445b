"""Deletions that hold a server up, judged as pure functions and on a real server."""

from __future__ import annotations

import pytest
import valkey
from looking_at import found, look

from medic8.targets.facts import Facts
from medic8.targets.valkey.looks.commands import parse_entry
from medic8.targets.valkey.looks.deletions import judge_deletions, judge_expiry, lazy_setting, not_spared
from medic8.targets.valkey.looks.slow_command import SlowCommand
from tests.holding_up import delete_large

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


def test_a_slow_deletion_is_one_finding_and_an_ordinary_one_once_it_is_set(valkey_url: str) -> None:
    """Slow although the setting is yes: like any other slow command. Not while somebody repairs there."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.config_set(DEL, "no")
        delete_large(client)
        result = look(valkey_url, "commands")
        assert "DEL large" in found(result, "commands.slow_delete").text
        assert not [each for each in result.findings if each.code == "commands.slow"]
        client.config_set(DEL, "yes")
        result = look(valkey_url, "commands")
        assert "DEL large" in found(result, "commands.slow").text
        assert any("string" in line for line in found(result, "commands.slow").advice)
        assert not [each for each in result.findings if each.code == "commands.slow_delete"]
        client.set("medic8:claim", "j r 1:n", px=60_000)
        told = [each.text for each in look(valkey_url, "commands").findings]
        assert not [text for text in told if "DEL" in text]


def test_a_string_is_slow_to_delete_whatever_is_set(valkey_url: str) -> None:
    """The server frees it at once, so what it takes is found with yes as well."""
    with valkey.Valkey.from_url(valkey_url) as client:
        client.config_set(DEL, "yes")
        client.config_set("slowlog-log-slower-than", 0)
        client.setrange("string", 256 << 20, b"x")
        client.slowlog_reset()
        client.delete("string")
        (entry,) = [each for each in client.slowlog_get() if each["command"].startswith(b"DEL")]
    slow = SlowCommand("DEL string", 100.0, max(entry["duration"] / 1e6, 0.2), "", "", DEL)
    assert not_spared([slow], Facts({DEL: "yes"}), {}) == [slow]


def test_only_what_was_slow_before_a_setting_was_set_is_cured() -> None:
    """What comes again since is an ordinary slow command; what a setting would spare is none."""
    before, since = (SlowCommand("DEL large", at_s, 0.5, "", "", DEL) for at_s in (99.0, 101.0))
    other = SlowCommand("KEYS", 99.0, 0.5, "", "")
    every = [before, since, other]
    assert not_spared(every, Facts({DEL: "yes"}), {DEL: 100.0}) == [since, other]
    assert not_spared(every, Facts({DEL: "yes"}), {}) == every
    assert not_spared(every, Facts({DEL: "no"}), {}) == [other]
    assert not_spared(every, Facts({}), {}) == every
