from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import valkey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lossy_way import lossy_way

from medic8.errors import ConfigurationError, TransientError
from medic8.local.scratch import ScratchValkey
from medic8.targets.grid.compare_and_write import Road
from medic8.targets.grid.errors import GridDamagedError, GridExistsError, NotAGridError
from medic8.targets.grid.format import CELL, cells
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import manifest_keys, role_key, sums_key
from medic8.targets.grid.look import Look, Wanted
from medic8.targets.grid.manifest import read_settled_manifest
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.grid.write import Patience
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.conversation import conversation

RNG = np.random.default_rng(3)


def waves(count: int) -> np.ndarray:
    """Cells of random bytes."""
    return RNG.integers(0, 256, count * 32, dtype=np.uint8).view(CELL)


def assert_sound(client: valkey.Valkey, grid: Grid) -> None:
    """Every checksum, P and Q of the grid fit."""
    report = scrub(client, grid.manifest, ScrubOptions(is_deep=True)).report
    assert report.is_clean, report.damage
    assert report.suspicions == 0


def flip_page(client: valkey.Valkey, key: str, page: int) -> None:
    """Hurt one byte of a page behind the grid's back."""
    at = page * 4096 + 77
    old = client.getrange(key, at, at)
    client.setrange(key, at, bytes([old[0] ^ 0x40]))


def test_a_new_grid_reads_as_zeros_and_takes_no_block(client: valkey.Valkey) -> None:
    """Nothing but the two manifests is written by create."""
    grid = Grid.create(client, "lab", 40, now_s=1_700_000_000)
    assert grid.read_cell(255, 255, 39) == cells(1)[0]
    assert sorted(client.keys()) == sorted(key.encode() for key in manifest_keys("lab"))
    assert Grid.open(client, "lab").manifest == grid.manifest
    assert grid.manifest.created_s == 1_700_000_000


@pytest.mark.parametrize("road", [None, *Road])
def test_what_is_written_is_read_back(client: valkey.Valkey, road: Road | None) -> None:
    """Cells, regions, and only the blocks that were touched."""
    Grid.create(client, "lab", 40)
    grid = Grid.open(client, "lab", road=road)
    one, box = waves(1)[0], waves(3 * 5 * 200).reshape(3, 5, 200)
    grid.write_cell(17, 200, 33, one)
    grid.write_region(30, 100, 20, box)
    assert grid.read_cell(17, 200, 33) == one
    assert np.array_equal(grid.read_region(range(30, 230), range(100, 105), range(20, 23)), box)
    assert grid.read_cell(29, 100, 20) == cells(1)[0]
    assert_sound(client, grid)
    report = scrub(client, grid.manifest)
    assert report.blocks_existing == 1 + 3 * 2


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(
        st.lists(st.integers(0, 36 * 65_536 - 1) | st.integers(0, 300), min_size=1, max_size=40), max_size=5
    ),
    road=st.sampled_from([None, Road.WATCH]),
)
def test_bulk_writes_behave_like_an_array(
    client: valkey.Valkey, writes: list[list[int]], road: Road | None
) -> None:
    """Whatever is written where, in whatever order and however often, the last one counts."""
    client.flushall()
    Grid.create(client, "lab", 36)
    grid = Grid.open(client, "lab", road=road)
    model: dict[int, bytes] = {}
    for indices in writes:
        content = waves(len(indices))
        grid.write_cells(indices, content)
        model.update((index, cell.tobytes()) for index, cell in zip(indices, content, strict=True))
    places = [*model, 5, 2_000_000]
    found = [cell.tobytes() for cell in grid.read_cells(places)]
    assert found == [model.get(place, bytes(32)) for place in places]
    assert_sound(client, grid)


def test_a_range_that_covers_whole_groups_replaces_them(client: valkey.Valkey) -> None:
    """A partial grid filled from end to end, with a damaged group in it, is sound afterwards."""
    grid = Grid.create(client, "lab", 3)
    grid.write_cell(0, 0, 0, waves(1))
    flip_page(client, role_key("lab", 0, 0), 3)
    content = waves(3 * 65_536)
    grid.write_range(0, content)
    assert np.array_equal(grid.read_cells(np.arange(len(content))), content)
    assert_sound(client, grid)
    grid.write_range(1000, content[:70_000])
    assert np.array_equal(grid.read_cells(np.arange(1000, 71_000)), content[:70_000])
    assert_sound(client, grid)


def test_a_fill_replaces_everything_and_shows_progress(client: valkey.Valkey) -> None:
    """Blocks without a source disappear; a group without any disappears as a whole."""
    grid = Grid.create(client, "lab", 36)
    grid.write_cells([0, 2048], waves(2))
    block, steps = waves(2048), []
    grid.fill(
        lambda number: block if number % 64 != 1 and number < 1024 else None,
        on_progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[0] == (1, 128)
    assert steps[-1] == (128, 128)
    assert np.array_equal(grid.read_cells(np.arange(2048)), block)
    assert not grid.read_cells(np.arange(2048, 4096))["id"].any()
    assert not client.exists(sums_key("lab", 1), role_key("lab", 1, 16))
    assert_sound(client, grid)


def test_growing_moves_nothing(client: valkey.Valkey) -> None:
    """Old cells stay, new ones can be written, shrinking is refused."""
    grid = Grid.create(client, "lab", 1)
    content = waves(65_536)
    grid.write_range(0, content)
    other = Grid.open(client, "lab")
    grid.grow(70)
    assert np.array_equal(grid.read_cells(np.arange(65_536)), content)
    grid.write_cell(0, 0, 69, content[0])
    assert_sound(client, grid)
    assert Grid.open(client, "lab").layout.depth == 70
    with pytest.raises(ConfigurationError, match="cannot shrink"):
        grid.grow(69)
    with pytest.raises(TransientError, match="somebody else"):
        other.grow(60)


def test_growing_that_was_interrupted_is_completed(client: valkey.Valkey) -> None:
    """The deeper of two good copies counts, and growing again writes the other."""
    grid = Grid.create(client, "lab", 1)
    _, copy = manifest_keys("lab")
    before = client.get(copy)
    grid.grow(2)
    client.set(copy, before)
    again = Grid.open(client, "lab")
    assert again.layout.depth == 2
    again.grow(2)
    assert client.get(copy) != before


def test_a_second_grid_of_the_same_name_is_refused(client: valkey.Valkey) -> None:
    """Neither a manifest nor its copy is ever written over by create."""
    Grid.create(client, "lab", 1)
    before = {key: client.get(key) for key in manifest_keys("lab")}
    for gone in (None, *manifest_keys("lab")):
        for key, value in before.items():
            client.set(key, value)
        if gone is not None:
            client.delete(gone)
        with pytest.raises(GridExistsError, match="'lab'"):
            Grid.create(client, "lab", 1)
        assert [client.get(key) for key in before] == [
            None if key == gone else value for key, value in before.items()
        ]


def test_what_is_no_grid_is_named(client: valkey.Valkey) -> None:
    """The message names the object, what was seen and what the limit is."""
    primary, copy = manifest_keys("lab")
    with pytest.raises(NotAGridError, match="grid 'lab': there is none"):
        Grid.open(client, "lab")
    client.rpush(primary, "x")
    with pytest.raises(NotAGridError, match=r"holds a list, not a string.*does not exist"):
        Grid.open(client, "lab")
    client.set(primary, b"m8gr\3\0" + bytes(106))
    client.set(copy, b"hello")
    with pytest.raises(NotAGridError, match=r"format 3; the limit is format 2.*begins with b'hell'"):
        Grid.open(client, "lab")
    client.flushall()
    Grid.create(client, "lab", 1)
    mine = client.get(copy)
    client.delete(primary, copy)
    Grid.create(client, "lab", 1)
    client.set(copy, mine)
    with pytest.raises(NotAGridError, match="the manifest is of grid"):
        Grid.open(client, "lab")


@pytest.mark.parametrize("grows", [True, False])
def test_copies_of_a_manifest_that_differ_while_a_grid_grows_are_no_damage(
    client: valkey.Valkey, valkey_server: ScratchValkey, grows: bool
) -> None:
    """They are looked at again before that counts; who grew it may have died in between, and then it does."""
    grid = Grid.create(client, "lab", 1)
    primary, copy = manifest_keys("lab")
    before = client.get(copy)
    grid.grow(2)
    client.set(copy, before)
    looks: list[bytes] = []

    def second_write() -> bool:
        looks.append(client.get(copy))
        if grows and len(looks) > 1:
            client.set(copy, client.get(primary))
        return False

    with lossy_way(valkey_server.port) as way, connection(way.url) as slow:
        way.about, way.is_lost = copy.encode(), second_write
        state = read_settled_manifest(slow, "lab")
    assert (state.manifest.depth, state.good_copies) == (2, 2 if grows else 1)
    assert looks == [before] * 2


def test_one_good_copy_of_the_manifest_is_enough(client: valkey.Valkey) -> None:
    """Damage to either copy does not close the grid."""
    grid = Grid.create(client, "lab", 5)
    for key in manifest_keys("lab"):
        before = client.get(key)
        client.setrange(key, 20, b"?????")
        assert Grid.open(client, "lab").manifest == grid.manifest
        client.set(key, before)


def test_a_client_that_decodes_answers_is_refused(valkey_url: str) -> None:
    """Bytes would be taken for text."""
    with (
        valkey.Valkey.from_url(valkey_url, decode_responses=True) as decoding,
        pytest.raises(ConfigurationError, match="decode_responses"),
    ):
        Grid.open(decoding, "lab")


def test_cells_outside_the_grid_or_of_another_kind_are_refused(client: valkey.Valkey) -> None:
    """Before anything is written."""
    grid = Grid.create(client, "lab", 2)
    for wrong in ([-1], [2 * 65_536], [0, 2 * 65_536]):
        with pytest.raises(ConfigurationError, match="limits are 0 and 131071"):
            grid.write_cells(wrong, cells(len(wrong)))
        with pytest.raises(ConfigurationError, match="limits are 0 and 131071"):
            grid.read_cells(wrong)
    with pytest.raises(ConfigurationError, match="must be CELL and"):
        grid.write_cells([1, 2], cells(3))
    with pytest.raises(ConfigurationError, match="must be CELL and"):
        grid.write_cells([1], np.zeros(1))
    with pytest.raises(ConfigurationError, match="of 1 dimensions: a region has 3"):
        grid.write_region(0, 0, 0, cells(3))
    with pytest.raises(ConfigurationError, match="x = 256"):
        grid.write_region(250, 0, 0, cells(7).reshape(1, 1, 7))
    assert client.dbsize() == 2


HARMS = {
    "page of the block": lambda c: flip_page(c, role_key("lab", 5, 0), 2),
    "page of P": lambda c: flip_page(c, role_key("lab", 5, 16), 2),
    "page of Q": lambda c: flip_page(c, role_key("lab", 5, 17), 2),
    "footer": lambda c: c.setrange(role_key("lab", 5, 0), 65_600, b"?" * 16),
    "record": lambda c: c.setrange(sums_key("lab", 5), 100, b"?" * 16),
    "missing block": lambda c: c.delete(role_key("lab", 5, 0)),
    "missing Q": lambda c: c.delete(role_key("lab", 5, 17)),
    "missing record": lambda c: c.delete(sums_key("lab", 5)),
    "type of the block": lambda c: (c.delete(role_key("lab", 5, 0)), c.rpush(role_key("lab", 5, 0), "x")),
    "type of the record": lambda c: (c.delete(sums_key("lab", 5)), c.rpush(sums_key("lab", 5), "x")),
    "short block": lambda c: c.set(role_key("lab", 5, 0), c.get(role_key("lab", 5, 0))[:9000]),
}


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_never_folded_into_parity(client: valkey.Valkey, harm: str) -> None:
    """A write that would touch something damaged is refused and changes nothing; reading still works."""
    grid = Grid.create(client, "lab", 40)
    place = 5 * 2048 + 2 * 128 + 9
    old = waves(1)
    grid.write_cells([place], old)
    HARMS[harm](client)
    before = {key: client.dump(key) for key in client.scan_iter()}
    with pytest.raises(GridDamagedError, match=r"group 5|block 5|of group 5"):
        grid.write_cells([place], waves(1))
    assert {key: client.dump(key) for key in client.scan_iter()} == before
    assert grid.read_cells([place]) == old


def test_a_stray_block_is_not_taken_for_a_new_one(client: valkey.Valkey) -> None:
    """The first write of a block refuses a key that is there already."""
    grid = Grid.create(client, "lab", 40)
    grid.write_cells([5 * 2048], waves(1))
    client.set(role_key("lab", 5, 1), b"what is this")
    with pytest.raises(GridDamagedError, match="was never written"):
        grid.write_cells([(5 + 64) * 2048], waves(1))


def test_a_group_that_lost_its_record_takes_no_new_block(client: valkey.Valkey) -> None:
    """Its P and Q would be begun anew over those that are there, or beside blocks they do not cover."""
    grid = Grid.create(client, "lab", 40)
    grid.write_cells([5 * 2048], waves(1))
    client.delete(sums_key("lab", 5), role_key("lab", 5, 16), role_key("lab", 5, 17))
    with pytest.raises(GridDamagedError, match="block 5: it is there and was never written"):
        grid.write_cells([(5 + 64) * 2048], waves(1))


def test_reading_what_nothing_can_prove_is_refused(client: valkey.Valkey) -> None:
    """Three pages lost at one offset are never guessed; others of the same block are read."""
    grid = Grid.create(client, "lab", 40)
    places = [5 * 2048 + 2 * 128, 69 * 2048 + 2 * 128, 5 * 2048]
    content = waves(3)
    grid.write_cells(places, content)
    for role in (0, 1, 16):
        flip_page(client, role_key("lab", 5, role), 2)
    with pytest.raises(GridDamagedError, match=r"block 5, page 2: damaged, and nothing proves") as raised:
        grid.read_cells(places[:1])
    assert raised.value.args[1:] == (5, "block 5, page 2")
    assert grid.read_cells(places[2:]) == content[2:]


class Interrupted(Grid):
    """A grid where something else happens between the look and the write of every try."""

    meanwhile: Callable[[], object]

    def _borrow(self, group: int) -> Callable[[Wanted], Look]:
        inner = super()._borrow(group)

        def borrow(wanted: Wanted) -> Look:
            seen = inner(wanted)
            self.meanwhile()
            return seen

        return borrow


def test_a_write_gives_up_after_its_bound(client: valkey.Valkey) -> None:
    """Somebody who always changes the group first is waited for with growing pauses, not for ever."""
    grid = Grid.create(client, "lab", 40)
    pauses: list[int] = []
    racing = Interrupted(client, grid.manifest, patience=Patience(4, pauses.append))
    racing.meanwhile = lambda: grid.write_cells([9], waves(1))
    with pytest.raises(TransientError, match="each of 4 tries"):
        racing.write_cells([0], waves(1))
    assert pauses == [0, 1, 2, 3]
    assert_sound(client, grid)


@pytest.mark.parametrize("road", list(Road))
@pytest.mark.parametrize("harm", HARMS)
def test_damage_between_look_and_write_is_not_folded_into_parity(
    client: valkey.Valkey, harm: str, road: Road
) -> None:
    """What was verified is compared byte for byte by the act that writes; the next look then refuses."""
    grid = Grid.create(client, "lab", 40)
    place = 5 * 2048 + 2 * 128 + 9
    old = waves(1)
    grid.write_cells([place], old)
    after: list[dict[bytes, bytes]] = []

    def meanwhile() -> None:
        HARMS[harm](client)
        after.append({key: client.dump(key) for key in client.scan_iter()})

    unlucky = Interrupted(client, grid.manifest, road=road, patience=Patience(2, lambda _: None))
    unlucky.meanwhile = meanwhile
    with pytest.raises(GridDamagedError, match=r"group 5|block 5|of group 5"):
        unlucky.write_cells([place], waves(1))
    assert len(after) == 1
    assert {key: client.dump(key) for key in client.scan_iter()} == after[0]
    assert grid.read_cells([place]) == old


def test_a_conversation_left_half_way_does_not_confuse_the_next(client: valkey.Valkey) -> None:
    """Answers nobody read close the connection; this client then says so instead of reading on."""
    with conversation(client) as talk:
        talk.send([("BLPOP", "nothing", "0.1")])  # its answer comes after the block
    with pytest.raises(valkey.ConnectionError):
        client.ping()
