"""A signal never leaves the journal in the middle of a transaction."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from medic8.recovery.undisturbed import undisturbed


def test_who_is_interrupted_in_a_write_can_write_what_was_undone(tmp_path: Path) -> None:
    """Ctrl-C at many places of a transaction: it is heard after it, and nothing stays locked."""
    url = f"sqlite:///{tmp_path}/journal.sqlite"
    done = subprocess.run(
        [sys.executable, "-m", "tests.recovery.interrupted_writes", url, "41"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_the_second_signal_is_not_kept_waiting() -> None:
    """Who presses Ctrl-C twice is not made to wait for a database; the first is heard as well."""
    reached = []

    @undisturbed()
    def interrupted_twice() -> None:
        for name in ("first", "second"):
            signal.raise_signal(signal.SIGINT)
            reached.append(name)

    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted_twice()
    assert reached == ["first"]
    assert isinstance(caught.value.__context__, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_block_inside_another_and_one_in_a_thread_change_nothing() -> None:
    """The handler is what it was, and what came inside is heard once."""
    heard: list[int] = []
    earlier = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with undisturbed():
            with undisturbed():
                signal.raise_signal(signal.SIGTERM)
            assert heard == []
            thread = threading.Thread(target=lambda: undisturbed().__enter__())
            thread.start()
            thread.join()
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, earlier)
