"""Files that are there whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from medic8.durable import replacing


@pytest.mark.parametrize("outlasts_power", [True, False])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, outlasts_power: bool) -> None:
    """It is the old one until the block has ended well; one that fails leaves nothing else behind."""
    file = tmp_path / "file"
    with replacing(file, outlasts_power=outlasts_power) as new:
        new.write(b"old")
        assert not file.exists()
    assert file.stat().st_mode & 0o777 == 0o600

    with suppress(KeyError), replacing(file, outlasts_power=outlasts_power) as new:
        new.write(b"new")
        raise KeyError
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
