"""What the measurement changes in this process is put back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """A run names its own site in the environment, which is gone after it."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
