"""What Prefect's engine, which a process worker starts, says of runs that end badly."""

from __future__ import annotations

from uuid import uuid4

import pytest
from prefect.engine import handle_engine_signals
from prefect.states import Failed

import flows  # noqa: F401 - what a process worker loads first
from medic8.model.alert import End


@pytest.fixture(autouse=True)
def _in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Prefect know of no run that has ended in this process, as where a worker starts one for each."""
    monkeypatch.setattr("prefect._internal.control_listener._engine_outcome_handled", False)


@pytest.mark.parametrize("answer", [None, End.NOT_HEALED, {"end": "not healed"}])
def test_a_run_that_returned_how_it_failed_is_no_accident(
    caplog: pytest.LogCaptureFixture, answer: object
) -> None:
    """One line, and no traceback of Prefect; with the answer as data the engine knows of no exception."""
    with pytest.raises(SystemExit), handle_engine_signals(uuid4()):
        Failed(name="Not healed", message="the port is closed", data=answer).result()
    assert caplog.messages == ["The run has ended as Failed; its state says why."]
    assert "Traceback" not in caplog.text


def test_what_was_raised_is_shown_with_where(caplog: pytest.LogCaptureFixture) -> None:
    """That is what the traceback is for."""
    with pytest.raises(SystemExit), handle_engine_signals(uuid4()):
        raise OSError("there is no such disk")
    assert "Traceback" in caplog.text
    assert "there is no such disk" in caplog.text
