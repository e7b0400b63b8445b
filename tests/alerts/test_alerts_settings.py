from __future__ import annotations

from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.settings import Settings, load_settings

TARGET = '[[target]]\nname = "cache-1"\nkind = "valkey"\nurl = "valkey://127.0.0.1:6379"\n'
SOURCE = '[[alerts.source]]\nname = "prom"\nformat = "alertmanager"\n'


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "medic8.toml").write_text(TARGET + text)
    return load_settings(folder / "medic8.toml", environ={"MEDIC8_HOME": str(folder), **environ}, cwd=folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SOURCE, "anybody could send"),
        (SOURCE + 'token_env = "SHORT"\n', "the token has 5 characters, expected 16 at least"),
        (SOURCE + 'token_env = "T"\ntoken_file = "t"\n', 'field "token_env" is given too'),
        (2 * (SOURCE + "client_certificate = true\n"), "there are two"),
        ('[[alerts.rule]]\ntarget = "cache-1"\n', "it would be about every alert"),
        ('[[alerts.rule]]\nmatch = { a = "b" }\ntarget = "cache-2"\n', "expected the name of a target"),
        ('[[alerts.rule]]\nsource = "prom"\n', "expected the name of a source"),
        ('[[alerts.rule]]\nmatch = { a = "b" }\nignore = true\ntarget = "cache-1"\n', "not more"),
        ("[alerts]\nexpire_s = 1\n", "expire_s"),
    ],
)
def test_what_would_lose_alerts_or_let_anybody_in_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, SHORT="short", T="0123456789abcdef")
    assert says in str(caught.value)


def test_a_secret_that_cannot_be_had_closes_its_source_alone(tmp_path: Path) -> None:
    """And one that can is never shown."""
    more = SOURCE.replace('"prom"', '"other"') + 'token_env = "THERE"\n'
    site = load(tmp_path, SOURCE + 'token_env = "MISSING"\n' + more, THERE="0123456789abcdef")
    first, second = site.alerts.source
    assert ("MISSING" in first.problem, second.problem) == (True, "")
    assert "0123456789abcdef" not in repr(site)
