"""Ways to break undo on purpose, so that the laboratory is seen to notice; each is done in a child only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medic8.model.recovery import StepState
from medic8.recovery import contract, interrupted, saved_state, undo
from medic8.targets.valkey.claimed import ClaimedServer


def puts_nothing_back() -> None:
    """Says that it did."""
    undo._undo_step = lambda *_: undo._Undone(StepState.UNDONE, "put back")


def writes_over_theirs() -> None:
    """Puts the saved value back whatever is there."""

    def undo_step(session: Any, recovery: Any, record: Any, item: Any) -> Any:
        step = contract.step_at(recovery.plan, record.number)
        saved = saved_state.value_of(undo.Path(recovery.saved_state), item)
        present = session.capture(step)
        if present != saved:
            session.swap(step, expected=present, new=saved, claim=recovery.claim)
        return undo._Undone(StepState.UNDONE, "put back")

    undo._undo_step = undo_step


def forgets_what_was_begun() -> None:
    """Undoes only what is known to be done."""
    undo.MAY_HAVE_CHANGED = (StepState.DONE,)


def puts_something_else_back() -> None:
    """Reads the saved value one byte off."""
    value_of = saved_state.value_of

    def shifted(folder: Any, item: Any) -> bytes | None:
        value = value_of(folder, item)
        return b"1" + value[1:] if value else b"7"

    saved_state.value_of = shifted


def believes_every_unit() -> None:
    """Takes a unit for proven without looking."""
    prove = contract.proof_of

    def proof_of(session: Any, recovery: Any, unit: int) -> Any:
        session.verify = lambda _: None
        return prove(session, recovery, unit)

    contract.proof_of = proof_of


def leaves_the_claim() -> None:
    """Ends, and shuts other journals out."""
    ClaimedServer.release_claim = lambda *_: None


def ends_nothing() -> None:
    """Finds no recovery that died."""
    interrupted.interrupted_on = lambda *_: ()


BROKEN: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        puts_nothing_back,
        writes_over_theirs,
        forgets_what_was_begun,
        puts_something_else_back,
        believes_every_unit,
        leaves_the_claim,
        ends_nothing,
    )
}
