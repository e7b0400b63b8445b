"""The manifest of a grid and its copy: create, find, and grow."""

from __future__ import annotations

import time
from dataclasses import dataclass

import valkey

from medic8.errors import ConfigurationError, TransientError
from medic8.targets.grid.compare_and_write import (
    Answer,
    CompareAndWrite,
    Delete,
    HoldsExactly,
    IsAbsent,
    WriteValue,
)
from medic8.targets.grid.errors import GridDamagedError, GridExistsError, NotAGridError
from medic8.targets.grid.format import MANIFEST_BYTES, FormatError, Manifest, pack_manifest, unpack_manifest
from medic8.targets.grid.image import Value, WrongType
from medic8.targets.grid.keys import check_name, manifest_keys
from medic8.targets.grid.reading import as_value, get_at_most
from medic8.targets.valkey.conversation import conversation, raise_first

_COPIES = ("the manifest", "the copy of the manifest")

#: Whoever grows the grid is through after a few round trips; growing all the time makes new suspicions.
_MOST_LOOKS = 5
_BETWEEN_LOOKS_S = 0.1


@dataclass(frozen=True, slots=True)
class ManifestState:
    """
    What was found of a grid's manifest.

    Attributes:
        manifest: What the grid is.
        values: What the two keys hold; of a value that is too long, one byte more than a good one has.
        problems: What is wrong with each copy; None where it is good.
    """

    manifest: Manifest
    values: tuple[Value, Value]
    problems: tuple[str | None, str | None]

    @property
    def good_copies(self) -> int:
        """How many of the two copies are good: 1 or 2."""
        return self.problems.count(None)


def read_manifest(client: valkey.Valkey, name: str) -> ManifestState:
    """
    Find the grid called *name*.

    Of two good copies that differ in depth the deeper one counts: growing
    writes one after the other and may have been interrupted.

    Raises:
        ConfigurationError: no grid may be called so, or the client decodes answers.
        NotAGridError: neither copy is a manifest of that grid in a format we know, or they disagree.
    """
    check_name(name)
    if client.connection_pool.connection_kwargs.get("decode_responses"):
        raise ConfigurationError(
            "decode_responses is True for this client; a grid is bytes, so it must be False"
        )
    keys = manifest_keys(name)
    with conversation(client) as talk:
        answers = talk.ask(
            [*(get_at_most(key, MANIFEST_BYTES) for key in keys), *(("TYPE", key) for key in keys)]
        )
    values = (as_value(answers[0], answers[2]), as_value(answers[1], answers[3]))
    found = [_unpack(value, name) for value in values]
    good = [copy for copy in found if isinstance(copy, Manifest)]
    if not good:
        if values == (None, None):
            raise NotAGridError(f"grid {name!r}: there is none; neither the manifest nor its copy exists")
        reasons = "; ".join(f"{copy}: {problem}" for copy, problem in zip(_COPIES, found, strict=True))
        raise NotAGridError(f"grid {name!r} cannot be opened: {reasons}")
    if len({copy.takes_checked_only for copy in good}) > 1:
        raise NotAGridError(
            f"grid {name!r} cannot be opened: the manifest and its copy disagree on writes=checked"
        )
    if len({(copy.uuid, copy.created_s) for copy in good}) > 1:
        raise NotAGridError(
            f"grid {name!r} cannot be opened: "
            f"the manifest is of grid {good[0].uuid}, its copy of {good[1].uuid}"
        )
    manifest = max(good, key=lambda copy: copy.depth)
    problems = [_problem(copy, manifest) for copy in found]
    return ManifestState(manifest, values, (problems[0], problems[1]))


def read_settled_manifest(client: valkey.Valkey, name: str) -> ManifestState:
    """
    As `read_manifest`; a copy that is not good is looked at again before that counts.

    Creating and growing write one copy after the other, and whoever looks in between finds that they differ.
    """
    state = read_manifest(client, name)
    for _ in range(_MOST_LOOKS):
        if state.good_copies == len(_COPIES):
            break
        time.sleep(_BETWEEN_LOOKS_S)
        before, state = state, read_manifest(client, name)
        if state.values == before.values:
            break
    return state


def create_manifest(client: valkey.Valkey, manifest: Manifest) -> None:
    """
    Write the manifest and its copy of a new grid.

    Raises:
        GridExistsError: something is there already; nothing was changed.
    """
    compare_and_write = CompareAndWrite(client)
    primary, copy = manifest_keys(manifest.name)
    packed = pack_manifest(manifest)
    with conversation(client) as talk:  # a node of a cluster that has but one of them is not written to
        raise_first(talk.ask([("EXISTS", primary), ("EXISTS", copy)]))
    if not compare_and_write([IsAbsent(primary)], [WriteValue(primary, packed)]).is_written:
        raise GridExistsError(f"grid {manifest.name!r}: its manifest exists already")
    if not compare_and_write([IsAbsent(copy)], [WriteValue(copy, packed)]).is_written:
        compare_and_write([HoldsExactly(primary, packed)], [Delete(primary)])
        raise GridExistsError(f"grid {manifest.name!r}: the copy of its manifest exists already")


def grow_manifest(client: valkey.Valkey, grown: Manifest) -> None:
    """
    Write a greater depth into both copies, the first one first.

    Raises:
        GridDamagedError: a copy is not good; repair it first.
        TransientError: somebody else changed the manifest meanwhile.
    """
    state = read_manifest(client, grown.name)
    if state.manifest.uuid != grown.uuid or state.manifest.depth > grown.depth:
        raise TransientError(f"grid {grown.name!r}: somebody else changed the manifest; open it again")
    is_cut = any(isinstance(value, bytes) and len(value) > MANIFEST_BYTES for value in state.values)
    if state.good_copies < len(_COPIES) and (is_cut or state.manifest.depth != grown.depth):
        problem = "; ".join(problem for problem in state.problems if problem)
        raise GridDamagedError(f"grid {grown.name!r}: {problem}; repair it first", 0, "the manifest")
    compare_and_write = CompareAndWrite(client)
    packed = pack_manifest(grown)
    for key, value in zip(manifest_keys(grown.name), state.values, strict=True):
        if value == packed:
            continue
        expected = HoldsExactly(key, value) if isinstance(value, bytes) else IsAbsent(key)
        if compare_and_write([expected], [WriteValue(key, packed)]).answer is not Answer.WRITTEN:
            raise TransientError(f"grid {grown.name!r}: somebody else changed the manifest; open it again")


def _unpack(value: Value, name: str) -> Manifest | str:
    if value is None:
        return "it does not exist"
    if isinstance(value, WrongType):
        return f"the key holds a {value.name}, not a string"
    try:
        return unpack_manifest(value, name)
    except (FormatError, ConfigurationError) as exc:
        return str(exc)


def _problem(copy: Manifest | str, manifest: Manifest) -> str | None:
    if isinstance(copy, str):
        return copy
    if copy.depth != manifest.depth:
        return f"it says depth {copy.depth}, the other copy {manifest.depth}"
    return None
