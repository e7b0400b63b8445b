"""Routes of a configuration: their addresses by reference, and nothing that would tell nobody in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.model.notice import Event
from medic8.settings import Settings, load_settings

TARGET = '[[target]]\nname = "cache-1"\nkind = "valkey"\nurl = "valkey://127.0.0.1:6379"\n'
ROUTE = '[[notify]]\nname = "ops"\n'
URL = "json://me:geheim99@127.0.0.1:9/hook"


def load(folder: Path, text: str) -> Settings:
    (folder / "medic8.toml").write_text(TARGET + text)
    environ = {"MEDIC8_HOME": str(folder), "THERE": URL, "WORD": "geheim99"}
    return load_settings(folder / "medic8.toml", environ=environ, cwd=folder)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (ROUTE, "it is told nowhere; give it url_env or url_file"),
        (ROUTE + f'url = "{URL}"\n', 'field "url": not here; the address is a secret'),
        (ROUTE + 'url_env = "THERE"\nurl_file = "f"\n', 'field "url_env" is given too'),
        (ROUTE + 'url_env = "WORD"\n', "what it names is no address"),
        (ROUTE + 'url_env = "THERE"\nevents = ["healthy"]\n', 'got "healthy", expected'),
        (ROUTE + 'url_env = "THERE"\nevents = []\ndigest = []\n', "it would tell nothing"),
        (ROUTE + 'url_env = "THERE"\nevents = ["refused"]\ndigest = ["refused"]\n', "is in events as well"),
        (ROUTE + 'url_env = "THERE"\ntargets = ["cache-2"]\n', "expected a target's name or label"),
        (2 * (ROUTE + 'url_env = "THERE"\n'), "there are two"),
        ('[notify]\nname = "ops"\n', 'a route begins with "[[notify]]"'),
    ],
)
def test_what_would_tell_nobody_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """With the place and without the address."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert says in str(caught.value)
    assert "geheim99" not in str(caught.value)


def test_an_address_that_cannot_be_had_closes_its_route_alone(tmp_path: Path) -> None:
    """And one that can is never shown."""
    (tmp_path / "url").write_text(f"{URL}\n")
    more = '[[notify]]\nname = "there"\nurl_file = "url"\n[[notify]]\nname = "env"\nurl_env = "THERE"\n'
    site = load(tmp_path, ROUTE + 'url_env = "MISSING"\n' + more)
    assert "MISSING" in site.notify[0].problem
    assert [each.url.get_secret_value() for each in site.notify if each.url] == [URL, URL]
    assert "geheim99" not in repr(site) + site.model_dump_json()


def test_what_is_told_at_once_and_what_is_collected_has_sane_defaults(tmp_path: Path) -> None:
    """One field says the rest: what is collected is not told at once, and the other way round."""
    url = 'url_env = "THERE"\n'
    texts = ("", 'digest = ["resolved", "refused"]\n', 'events = ["refused"]\n', "digest = []\n")
    found = [load(tmp_path, ROUTE + url + text).notify[0] for text in texts]
    every = set(Event)
    assert [(set(each.events), set(each.digest)) for each in found] == [
        (every - {Event.REFUSED}, {Event.REFUSED}),
        (every - {Event.REFUSED, Event.RESOLVED}, {Event.REFUSED, Event.RESOLVED}),
        ({Event.REFUSED}, set()),
        (every, set()),
    ]


def test_routes_that_all_name_targets_are_warned_of(tmp_path: Path) -> None:
    """A heartbeat that stopped is about no target."""
    site = load(tmp_path, ROUTE + 'url_env = "THERE"\ntargets = ["cache-*"]\n')
    assert "is told to nobody" in site.warnings[-1]
