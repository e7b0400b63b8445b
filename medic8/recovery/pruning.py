"""See what recoveries saved and is still there, and remove what retention does not keep."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from medic8.durable import sync_folder
from medic8.errors import UndoError
from medic8.model.recovery import Recovery, RecoveryState
from medic8.model.saved import Decision, Keep, Presence, Pruning, SavedState
from medic8.recovery import ended, retention, saved_state
from medic8.recovery.journal import Journal

#: Folders of anything else are not ours to judge.
_RECOVERY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def saved_by(recovery: Recovery, keep: Keep) -> SavedState:
    """What *recovery* saved and what is there of it; the values themselves are not read."""
    presence, problem = _presence(recovery)
    return SavedState(
        recovery=recovery.id,
        target=recovery.plan.target,
        folder=recovery.saved_state,
        items=recovery.saved_items,
        size_bytes=recovery.saved_bytes,
        presence=presence,
        problem=problem,
        pruned_at=recovery.pruned_at,
        kept_until=retention.kept_until(recovery, keep),
    )


def kept(journal: Journal, keep: Keep) -> tuple[SavedState, ...]:
    """Every saved state that should be there, the oldest recovery first."""
    found = [each for each in ended.every(journal) if each.saved_state and each.pruned_at is None]
    return tuple(saved_by(each, keep) for each in sorted(found, key=lambda each: each.opened_at))


def prune(
    journal: Journal,
    folder: Path,
    keep: Keep,
    *,
    clock: Callable[[], datetime],
    is_dry_run: bool = False,
) -> Pruning:
    """
    Remove saved states that retention does not keep, and what attempts to save left behind that died.

    The journal hears of each before its folder is removed, so a run that dies in
    between leaves a folder that nothing promises, and the next one removes it.

    Args:
        journal: Knows the recoveries.
        folder: Where recoveries save; a folder in it of a recovery that the journal does not know is left
            alone, since it may be all that a lost journal left behind.
        keep: What the site asks for.
        clock: Tells the time.
        is_dry_run: Only say what would be removed.
    """
    known = {each.id: each for each in ended.every(journal)}
    present = [
        saved
        for each in known.values()
        if each.saved_state and each.pruned_at is None
        # What is not here may be on another machine, which prunes it itself.
        if (saved := saved_by(each, keep)).presence is not Presence.MISSING
    ]
    decisions = retention.decide(present, keep, now=clock(), read_by=ended.being_read(journal))
    leftovers, unknown = _loose(folder, known)
    made, going = list[Decision](), list[Path]()
    freed_bytes, problems = 0, list[str]()
    for decision in decisions:
        if not decision.goes_since:
            made.append(decision)
            continue
        place = Path(decision.saved.folder)
        if not is_dry_run and not ended.let_go(journal, decision.saved.recovery, at=clock()):
            made.append(Decision(saved=decision.saved, stays_since="an undo of it has just begun"))
            continue
        made.append(decision)
        going.append(place)
    for place in (*going, *leftovers):
        size_bytes = _size_of(place)
        problem = "" if is_dry_run else _remove(place)
        if problem:
            problems.append(problem)
        else:
            freed_bytes += size_bytes
    return Pruning(
        is_dry_run=is_dry_run,
        decisions=tuple(made),
        freed_bytes=freed_bytes,
        leftovers=tuple(str(place) for place in leftovers),
        unknown=tuple(str(place) for place in unknown),
        problems=tuple(problems),
    )


def _presence(recovery: Recovery) -> tuple[Presence, str]:
    if not recovery.saved_state:
        return Presence.NONE, ""
    if recovery.pruned_at is not None:
        return Presence.PRUNED, ""
    folder = Path(recovery.saved_state)
    if not folder.is_dir():
        return Presence.MISSING, f"{folder} is not there, at least not on this machine"
    try:
        saved_state.look(folder, index_digest=recovery.saved_digest)
    except UndoError as exc:
        return Presence.ALTERED, str(exc)
    return Presence.KEPT, ""


def _loose(folder: Path, known: dict[str, Recovery]) -> tuple[list[Path], list[Path]]:
    """Folders that nothing promises: those that nobody needs, and those of unknown recoveries."""
    # What a pruning was removing when it died, wherever the configuration put it at that time.
    leftovers = [
        Path(each.saved_state) for each in known.values() if each.saved_state and each.pruned_at is not None
    ]
    leftovers = [place for place in leftovers if place.is_dir()]
    unknown: list[Path] = []
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not _RECOVERY_ID.fullmatch(place.name) or not place.is_dir() or place.is_symlink():
            continue
        recovery = known.get(place.name)
        if recovery is None:
            unknown.append(place)
        elif _died_while_saving(recovery):
            leftovers.append(place)
    return leftovers, unknown


def _died_while_saving(recovery: Recovery) -> bool:
    """Nothing is changed before the journal knows where the state was saved."""
    return not recovery.saved_state and recovery.state is not RecoveryState.OPEN


def _size_of(place: Path) -> int:
    return sum(_stated(place.rglob("*"))) if place.is_dir() else 0


def _stated(files: Iterable[Path]) -> Iterable[int]:
    return (file.lstat().st_size for file in files if file.is_file())


def _remove(place: Path) -> str:
    """Remove a folder so that it stays removed; what went wrong, in words, or nothing."""
    try:
        shutil.rmtree(place)
        sync_folder(place.parent)
    except FileNotFoundError:
        return ""  # somebody else removed it at the same moment
    except OSError as exc:
        return f"{place} cannot be removed: {exc.strerror or exc}"
    return ""
