"""What is public is a promise: this list changes on purpose or not at all."""

from __future__ import annotations

import subprocess
import sys

import medic8

PUBLIC = [
    "CELL",
    "ChangedError",
    "ConfigurationError",
    "FencedError",
    "Grid",
    "GridDamagedError",
    "GridExistsError",
    "LockBusyError",
    "LockLostError",
    "Medic8Error",
    "NotAGridError",
    "OutdatedError",
    "RefusedError",
    "ScrubOptions",
    "TransientError",
    "UndoError",
    "UnreachableError",
    "VerifyError",
    "amplitude_code",
    "amplitude_of",
    "cells",
    "connection",
    "diagnose_grid",
    "load_settings",
    "scrub",
]


def test_the_public_names_are_these_and_all_of_them_load() -> None:
    """A name that is added or taken away is seen here."""
    assert sorted(medic8.__all__) == sorted(PUBLIC)
    assert all(getattr(medic8, name).__name__ for name in PUBLIC if name != "CELL")
    assert medic8.CELL.itemsize == 32


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As with any module."""
    assert not hasattr(medic8, "Grids")


def test_importing_medic8_loads_nothing_heavy() -> None:
    """The command line is quick because of that."""
    script = "import sys, medic8; print([m for m in ('numpy', 'valkey', 'pydantic') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
