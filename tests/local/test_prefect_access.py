"""Where the user's own Prefect server is, read from where Prefect reads it, and asked for what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.local.prefect_access import PrefectAccess, access_to, prefect_access
from medic8.local.prefect_answer import ask

#: Says what Prefect itself makes of its settings, for each folder with its environment that it is given.
PREFECT = """
import json, os, sys
from prefect.settings.context import get_current_settings
from prefect.settings.models.root import Settings

def plain(secret):
    return secret.get_secret_value() if secret else ""

found = []
for folder, environ in json.loads(sys.stdin.read()):
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update(environ)
    os.chdir(folder)
    said = Settings()
    found.append([(said.api.url or "").rstrip("/"), plain(said.api.auth_string), plain(said.api.key),
                  not said.api.tls_insecure_skip_verify, said.client.custom_headers,
                  (said.ui_url or "").rstrip("/")])
print(json.dumps(found))
"""

PROFILES = """
active = "work"
[profiles.work]
PREFECT_API_URL = "http://work:4200/api/"
PREFECT_API_AUTH_STRING = "ann:work"
PREFECT_API_TLS_INSECURE_SKIP_VERIFY = "true"
[profiles.cloud]
PREFECT_API_URL = "https://cloud/api"
PREFECT_API_KEY = "pnu_cloud"
PREFECT_CLIENT_CUSTOM_HEADERS = '{"X-Team": "grid"}'
[profiles.empty]
"""
TOML = '[api]\nurl = "http://toml/api"\nkey = "pnu_toml"\n[client]\ncustom_headers = {X-From = "toml"}\n'
PYPROJECT = '[tool.prefect.api]\nurl = "http://project/api"\nauth_string = "ann:project"\n'
DOTENV = 'PREFECT_API_URL=http://dotenv/api\nPREFECT_API_AUTH_STRING="ann:dotenv"\n'

CASES: list[tuple[dict[str, str], dict[str, str]]] = [
    ({}, {}),
    ({"home/profiles.toml": PROFILES}, {}),
    ({"home/profiles.toml": PROFILES}, {"PREFECT_PROFILE": "cloud"}),
    ({"home/profiles.toml": PROFILES}, {"PREFECT_PROFILE": "empty"}),
    ({"home/profiles.toml": PROFILES}, {"PREFECT_PROFILE": "unknown"}),
    ({"home/profiles.toml": PROFILES}, {"PREFECT_API_URL": ""}),
    ({"home/profiles.toml": PROFILES}, {"PREFECT_API_URL": "http://variable/api"}),
    ({"home/profiles.toml": PROFILES, "prefect.toml": TOML}, {}),
    ({"home/profiles.toml": PROFILES, "pyproject.toml": PYPROJECT}, {}),
    ({"prefect.toml": TOML, "pyproject.toml": PYPROJECT, ".env": DOTENV}, {}),
    ({"prefect.toml": TOML, "pyproject.toml": PYPROJECT}, {}),
    ({"prefect.toml": TOML, ".env": DOTENV}, {"PREFECT_API_AUTH_STRING": "ann:variable"}),
    ({"prefect.toml": 'profiles_path = "mine.toml"\n', "mine.toml": PROFILES}, {}),
    ({".env": "PREFECT_PROFILES_PATH=mine.toml\n", "mine.toml": PROFILES}, {}),
    ({"mine.toml": PROFILES}, {"PREFECT_PROFILES_PATH": "mine.toml"}),
    ({}, {"PREFECT_API_URL": "http://x/api", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "YES"}),
    ({}, {"PREFECT_API_URL": "http://x/api", "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "0"}),
    ({}, {"PREFECT_API_URL": "http://x/api", "PREFECT_UI_URL": "https://prefect.example"}),
    ({}, {"PREFECT_API_URL": "https://api.prefect.cloud/api/accounts/a/workspaces/w"}),
    (
        {},
        {"PREFECT_API_URL": "http://x/api", "PREFECT_CLIENT_CUSTOM_HEADERS": '{"Authorization": "Bearer x"}'},
    ),
]


def test_it_is_read_as_prefect_reads_it(tmp_path: Path) -> None:
    """Whatever the environment, files and profiles say: what we ask and what the flows use is one server."""
    asked = []
    for number, (files, variables) in enumerate(CASES):
        folder = tmp_path / str(number)
        for name, content in {"home/": "", **files}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if content:
                (folder / name).write_text(content)
        asked.append((str(folder), {"PREFECT_HOME": str(folder / "home"), **variables}))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    answer = subprocess.run(
        [sys.executable, "-c", PREFECT],
        input=json.dumps(asked),
        env=environ,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    ours = []
    for folder, variables in asked:
        access = access_to("", {**environ, **variables}, cwd=Path(folder))
        ours.append(
            [
                access.api_url,
                access.auth_string,
                access.key,
                access.is_verified,
                dict(access.headers),
                access.ui_url,
            ]
        )
    assert ours == json.loads(answer.stdout)
    assert len({json.dumps(each) for each in ours}) > len(CASES) // 2


def test_the_place_that_names_it_is_told(tmp_path: Path) -> None:
    """Whoever is surprised by the address must know which file to change."""
    (tmp_path / "profiles.toml").write_text(PROFILES)
    environ = {"PREFECT_HOME": str(tmp_path)}
    access = prefect_access(environ, cwd=tmp_path)
    assert access is not None
    assert access.named_by == f'PREFECT_API_URL of profile "work" in {tmp_path / "profiles.toml"}'
    assert "ann" not in repr(access)
    assert prefect_access({**environ, "PREFECT_API_URL": ""}, cwd=tmp_path) is None


@pytest.mark.parametrize(
    ("file", "content"), [("prefect.toml", "[api"), ("pyproject.toml", "="), ("profiles.toml", "\x00")]
)
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, file: str, content: str) -> None:
    """Prefect would end in a traceback over it, or guess."""
    (tmp_path / file).write_text(content)
    with pytest.raises(ConfigurationError, match=rf"{file}, which Prefect reads its settings from, is wrong"):
        prefect_access({"PREFECT_HOME": str(tmp_path)}, cwd=tmp_path)


def test_headers_that_are_none_are_named(tmp_path: Path) -> None:
    """Without being shown: they may hold a secret."""
    environ = {"PREFECT_HOME": str(tmp_path), "PREFECT_CLIENT_CUSTOM_HEADERS": "hunter2"}
    with pytest.raises(ConfigurationError, match=r"^PREFECT_CLIENT_CUSTOM_HEADERS is no JSON object"):
        access_to("http://x/api", environ, cwd=tmp_path)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://127.0.0.1:1/api", "does not answer: "),
        ("127.0.0.1:4200/api", "is no address that begins with http:// or https://"),
        ("ftp://127.0.0.1/api", "is no address that begins with http:// or https://"),
        ("http://[::1/api", "is no address that begins with http:// or https://"),
    ],
)
def test_an_address_without_a_server_is_a_problem_and_no_traceback(url: str, problem: str) -> None:
    """Whatever a person types."""
    assert ask(PrefectAccess(api_url=url, named_by="a test")).problem.startswith(problem)
