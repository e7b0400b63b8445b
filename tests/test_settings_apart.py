"""Reading the configuration in a process that is gone then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.settings import load_settings
from medic8.settings.apart import load_apart

TOKEN = "a secret that is long"  # noqa: S105 - it is none

SITE = """
[[target]]
name = "waves"
kind = "grid"
url = "valkey://ann:hunter2@127.0.0.1:1/0"

[[target]]
name = "page"
kind = "endpoint"
url = "http://127.0.0.1:1/"

[[alerts.source]]
name = "alertmanager"
format = "alertmanager"
token_env = "ALERTS_TOKEN"
"""

READ = """
import sys
from pathlib import Path
from medic8.settings.apart import load_apart
site = load_apart(Path(sys.argv[1]), environ={"MEDIC8_HOME": sys.argv[2], "ALERTS_TOKEN": sys.argv[3]})
print(len(site.targets), *(name for name in ("numpy", "cryptography", "valkey") if name in sys.modules))
"""


def written(folder: Path, text: str = SITE) -> Path:
    file = folder / "medic8.toml"
    file.write_text(text)
    file.chmod(0o600)
    return file


def test_what_is_read_apart_is_what_is_read_here(tmp_path: Path) -> None:
    """With its secrets."""
    file = written(tmp_path)
    environ = {"MEDIC8_HOME": str(tmp_path / "home"), "ALERTS_TOKEN": TOKEN}
    assert load_apart(file, environ=environ) == load_settings(file, environ=environ)


def test_what_is_wrong_is_said_as_it_is_here(tmp_path: Path) -> None:
    """By the same error."""
    file = written(tmp_path, SITE.replace('"grid"', '"grids"'))
    with pytest.raises(ConfigurationError, match='"grids"') as here:
        load_settings(file, environ={})
    with pytest.raises(ConfigurationError) as apart:
        load_apart(file, environ={})
    assert str(apart.value) == str(here.value)


def test_nothing_of_kinds_is_held(tmp_path: Path) -> None:
    """No library that a kind needs is imported by who has only read of its targets."""
    words = [sys.executable, "-c", READ, str(written(tmp_path)), str(tmp_path / "home"), TOKEN]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout.split()) == (0, ["2"]), done.stderr
