"""What is left out of processes that stay is had by who asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ALONE = """
import sys
from medic8.unloaded import leave_out
leave_out()
import httpx, text_unidecode
early = text_unidecode.unidecode
loaded = (name for name in ("rich", "pygments", "click") if name in sys.modules)
print(*loaded, early("plain"), httpx.Client.__name__)
is_whole = hasattr(sys.modules["text_unidecode"], "_replaces")
print(is_whole, early("Übung"), early("Łódź"), text_unidecode.unidecode("é"))
import text_unidecode
print(hasattr(text_unidecode, "_replaces"), early("ß"), text_unidecode.unidecode("plain"))
"""

KINDS = """
import sys
import flows.beforehand
print(*(name for name in ("numpy", "valkey", "medic8.targets.endpoint.kind", "PIL") if name in sys.modules))
print(*flows.beforehand.MEDIC8_READS)
"""


def said(program: str, **environ: str) -> list[str]:
    """The lines that a program of its own prints."""
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MEDIC8_"))
    }
    words = [sys.executable, "-c", program]
    done = subprocess.run(
        words, env=clean | environ, check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_left_out_comes_with_the_first_that_needs_it() -> None:
    """Names are spelt as by the whole table, also by who asked for it early."""
    assert said(ALONE) == ["plain Client", "False Ubung Lodz e", "True ss plain"]


def test_runs_begin_from_what_has_the_kinds_of_the_site_and_no_other(tmp_path: Path) -> None:
    """It says which file it has that from; without one that is right it has all kinds."""
    file = tmp_path / "medic8.toml"
    file.write_text('[[target]]\nname = "page"\nkind = "endpoint"\nurl = "http://127.0.0.1:1/"\n')
    site = {
        "MEDIC8_CONFIG": str(file),
        "MEDIC8_HOME": str(tmp_path),
        "PREFECT_HOME": str(tmp_path / "prefect"),
    }
    assert said(KINDS, **site) == ["medic8.targets.endpoint.kind", str(file)]
    file.write_text("[[target]\n")
    assert said(KINDS, **site) == ["numpy valkey medic8.targets.endpoint.kind", ""]
