"""What tests of notifications ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notifying.receiver import Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Get a service that takes what it is sent."""
    made = Receiver()
    with made.there():
        yield made
