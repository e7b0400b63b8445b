"""The map of a grid: what a scrub saw, value by value, and pictures of it."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import valkey
from hypothesis import given, settings
from hypothesis import strategies as st

from medic8.analysis.analyzer import analyze
from medic8.analysis.detector import detect_issues
from medic8.backups.place import BackupPlace
from medic8.errors import TransientError
from medic8.model.grid import BlockDamage, BlockRole, DamageNature, GroupDamage, RebuildItem
from medic8.model.grid_map import MARKS, STATES, MapPicture, StateRun, ValueState
from medic8.model.plan import Plan, Step, Unit
from medic8.model.recovery import Claim, Fence, Recovery, RecoveryState, StepRecord, StepState
from medic8.model.report import DiagnosticReport
from medic8.model.target import Target
from medic8.owner import this_process
from medic8.recovery import contract
from medic8.recovery.journal import Journal
from medic8.targets.grid.actions import WRITE_BACK, WriteBack, open_session
from medic8.targets.grid.format import CELL, Manifest
from medic8.targets.grid.grid import Grid
from medic8.targets.grid.keys import lost_key, role_key, sums_key
from medic8.targets.grid.kind import KIND
from medic8.targets.grid.layout import Layout, block_at, group_of, member_of
from medic8.targets.grid.map.collector import CODES, MapCollector
from medic8.targets.grid.map.grid_map import MOST_RUNS, GridMap, Place, build_map, document
from medic8.targets.grid.map.picture import Frame, picture
from medic8.targets.grid.map.rebuilt import rebuilt_by
from medic8.targets.grid.map.survey import Past, survey
from medic8.targets.grid.scrub import ScrubOptions, scrub
from medic8.targets.grid.strategies import plan_from_parity, plan_quarantine
from medic8.targets.kind import Strategy, Surroundings
from tests.recovery.steps import take_all_steps

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
UUID = uuid.UUID("6d656d38-0000-4000-8000-000000000001")
STOCK = np.random.default_rng(4).integers(0, 256, (8, 65_536), dtype=np.uint8).view(CELL)

ROLES = (*[BlockRole.DATA] * 16, BlockRole.P, BlockRole.Q, BlockRole.SUMS)
P, Q, SUMS = 16, 17, 18
NOTHING = (False,) * 16
EVERYTHING = (True,) * 16


def manifest(depth: int) -> Manifest:
    return Manifest("lab", UUID, depth, 0)


def begun(depth: int) -> MapCollector:
    seen = MapCollector()
    seen.begin(manifest(depth))
    return seen


def wrong(group: int, place: int, *, nature: DamageNature, can_be_rebuilt: bool) -> BlockDamage:
    """What a scrub says of one value."""
    return BlockDamage(
        role=ROLES[place],
        member=place if place < 16 else None,
        block=block_at(group, place) if place < 16 else None,
        group=group,
        nature=nature,
        pages=(),
        is_footer_concerned=False,
        can_be_rebuilt=can_be_rebuilt,
        proof=None,
        lost_pages=(),
        lost_cells=(),
        detail="",
    )


def random_map(depth: int, seed: int, *, is_sparse: bool = False) -> GridMap:
    """A map of a grid in which every value that exists is in any of the states."""
    seen = begun(depth)
    rng = np.random.default_rng(seed)
    exists = seen.states != 0
    seen.states[exists] = rng.integers(1, len(CODES) + 1, exists.sum())
    if is_sparse:
        seen.states[exists & (rng.random(seen.states.shape) < 0.999)] = CODES[ValueState.NEVER_WRITTEN]
    return build_map(seen, taken_at=NOW)


DEPTHS = st.integers(1, 200)
SEEDS = st.integers(0, 2**32)


@given(depth=DEPTHS)
def test_a_map_has_a_place_for_every_value_of_a_grid_and_no_other(depth: int) -> None:
    """Members beyond the last block of the grid are nothing, and nothing else is."""
    seen, layout = begun(depth), Layout(depth)
    assert (seen.states[:, :16] != 0).sum() == layout.blocks
    assert [int((row[:16] != 0).sum()) for row in seen.states] == [
        layout.members(group) for group in range(layout.groups)
    ]


@given(depth=DEPTHS, seed=SEEDS)
def test_blocks_come_in_the_order_of_their_numbers(depth: int, seed: int) -> None:
    """Striding over groups is undone."""
    grid_map = random_map(depth, seed)
    by_block = grid_map.by_block
    assert len(by_block) == Layout(depth).blocks
    expected = [grid_map.states[group_of(block), member_of(block)] for block in range(len(by_block))]
    assert by_block.tolist() == expected


@given(
    existing=st.lists(st.booleans(), min_size=16, max_size=16).map(tuple),
    damage=st.dictionaries(
        st.integers(0, 18),
        st.tuples(st.sampled_from(list(DamageNature)), st.booleans()),
        max_size=19,
    ),
)
def test_a_group_is_remembered_as_it_was_last_seen(
    existing: tuple[bool, ...], damage: dict[int, tuple[DamageNature, bool]]
) -> None:
    """Lost whatever its nature, missing, damaged; the rest is good where it exists."""
    seen = begun(32)
    found = GroupDamage(
        group=5,
        blocks=tuple(
            wrong(5, place, nature=nature, can_be_rebuilt=can) for place, (nature, can) in damage.items()
        ),
    )
    seen.looked_at(
        5, EVERYTHING, GroupDamage(group=5, blocks=(wrong(5, 3, nature="stale", can_be_rebuilt=False),))
    )
    seen.looked_at(5, existing, found if damage else None)
    grid_map = build_map(seen, taken_at=NOW)
    for place in range(19):
        is_there = any(existing) if place >= 16 else existing[place]
        nature, can = damage.get(place, (None, True))
        expected = (
            ValueState.LOST
            if not can
            else ValueState.MISSING
            if nature is DamageNature.MISSING
            else ValueState.DAMAGED
            if nature
            else ValueState.GOOD
            if is_there
            else ValueState.NEVER_WRITTEN
        )
        assert grid_map.state(5, place) is expected
    assert grid_map.state(6, 0) is ValueState.NOT_LOOKED_AT


@given(depth=DEPTHS, seed=SEEDS)
def test_runs_and_counts_say_what_the_map_says(depth: int, seed: int) -> None:
    """Spelled out, the runs are the states; neighbours in one state are one run."""
    grid_map = random_map(depth, seed)
    told = document(grid_map)
    assert told.runs_left_out == 0
    silent = {0, CODES[ValueState.NEVER_WRITTEN], CODES[ValueState.NOT_LOOKED_AT]}
    columns = (grid_map.by_block, *grid_map.states[:, 16:].T)
    for states, runs in zip(columns, (told.blocks, told.p, told.q, told.records), strict=True):
        spelled = [0] * len(states)
        for run in runs:
            spelled[run.first : run.first + run.count] = [CODES[run.state]] * run.count
        assert spelled == [0 if code in silent else code for code in states.tolist()]
        assert not any(a.first + a.count == b.first and a.state is b.state for a, b in pairwise(runs))
    assert sum(count.blocks for count in told.counts) == Layout(depth).blocks
    assert sum(count.checks for count in told.counts) == Layout(depth).groups * 3
    lost = {int(group) for group in np.argwhere(grid_map.states == CODES[ValueState.LOST])[:, 0]}
    assert told.beyond_parity == tuple(sorted(lost))


def worst_of(grid_map: GridMap, layers: str, columns: int) -> str:
    """What a row of an overview must show, the slow and obvious way."""
    first, _, last = layers.partition("-")
    marks = [0] * columns
    for extent in range(int(first) // 32, int(last or first) // 32 + 1):
        for group in range(extent * 64, min(extent * 64 + 64, len(grid_map.states))):
            column = group % 64 * columns // 64
            marks[column] = max(marks[column], int(grid_map.states[group].max()))
    codes = {code: MARKS[state] for state, code in CODES.items()}
    return "".join(codes.get(mark, " ") for mark in marks)


@settings(deadline=None)
@given(
    depth=st.integers(1, 3000),
    seed=SEEDS,
    columns=st.integers(1, 100),
    rows=st.integers(1, 20),
    bands=st.integers(0, 5),
    is_sparse=st.booleans(),
)
def test_a_picture_shows_the_worst_of_every_group_in_a_bounded_frame(
    depth: int, seed: int, columns: int, rows: int, bands: int, is_sparse: bool
) -> None:
    """Each cell of the overview is the most alarming of what it stands for, and nothing is left out."""
    grid_map = random_map(depth, seed, is_sparse=is_sparse)
    shown = picture(grid_map, Frame(columns=columns, most_rows=rows, most_bands=bands))
    assert len(shown.bands) <= bands
    widths = {len(row.cells) for band in (*shown.bands, shown.overview) if band for row in band.rows}
    assert max(widths, default=0) <= columns
    assert all(64 % width == 0 for width in widths - {0})
    if shown.overview is None:
        assert {row.label for band in shown.bands for row in band.rows} >= set(written_rows(grid_map))
        return
    drawn = [row for row in shown.overview.rows if row.cells]
    assert len(drawn) <= rows
    assert [row.cells for row in drawn] == [worst_of(grid_map, row.label, len(row.cells)) for row in drawn]
    covered = {
        layer // 32
        for row in shown.overview.rows
        for layer in range(int(row.label.split("-")[0]), int(row.label.split("-")[-1]) + 1)
    }
    written = {group // 64 for group in np.flatnonzero(grid_map.states.max(axis=1) >= CODES[ValueState.GOOD])}
    assert covered >= written
    ill = {
        group // 64 for group in np.flatnonzero(grid_map.states.max(axis=1) >= CODES[ValueState.QUARANTINED])
    }
    assert shown.bands_left_out == len(ill) - len(shown.bands)


def written_rows(grid_map: GridMap) -> Iterator[str]:
    """The layers of each row of blocks of an extent in which anything was written."""
    for extent in range(-(-len(grid_map.states) // 64)):
        states = grid_map.states[extent * 64 : extent * 64 + 64]
        if states.max() >= CODES[ValueState.GOOD]:
            for member in range(16):
                first = extent * 32 + member * 2
                last = min(first + 1, grid_map.manifest.depth - 1)
                if first <= last:
                    yield str(first) if first == last else f"{first}-{last}"


def test_the_extents_with_most_lost_are_shown_first_and_in_their_order() -> None:
    """Where there is no room for all, the worst are worth it."""
    seen = begun(32 * 8)
    for group in range(8 * 64):
        seen.looked_at(group, EVERYTHING, None)
    for extent, count in ((1, 1), (3, 5), (6, 3)):
        for slot in range(count):
            group = extent * 64 + slot
            lost = wrong(group, 0, nature=DamageNature.MISSING, can_be_rebuilt=False)
            seen.looked_at(group, EVERYTHING, GroupDamage(group=group, blocks=(lost,)))
    many = [
        wrong(0, place, nature=DamageNature.MISSING, can_be_rebuilt=True) for place in (0, 1, 2, 3, 4, 5, 6)
    ]
    seen.looked_at(0, EVERYTHING, GroupDamage(group=0, blocks=tuple(many)))
    shown = picture(build_map(seen, taken_at=NOW), Frame(most_bands=2))
    assert [band.title for band in shown.bands] == [
        "layers 96-127, groups 192-255",
        "layers 192-223, groups 384-447",
    ]
    assert (shown.bands_left_out, shown.beyond_parity_total) == (2, 9)
    assert shown.overview is not None
    assert shown.overview.rows[0].cells == "M" + 63 * "■"


def test_what_the_scrub_found_wrong_is_not_painted_over() -> None:
    """Rebuilt yesterday and damaged today is damaged; quarantine is told of what is good but for it."""
    seen = begun(32)
    damaged = wrong(0, 1, nature=DamageNature.DAMAGED, can_be_rebuilt=True)
    seen.looked_at(0, (True, True, True, True, *[False] * 12), GroupDamage(group=0, blocks=(damaged,)))
    places: list[Place] = [(0, 0), (0, 1), (0, 9), (0, P), (0, 19), (99, 0), (-1, 0), (0, -1)]
    seen.given_up(0, [(0, 3), (0, 4), (1, 0), (3, 15), (9, 0)])
    found = build_map(seen, taken_at=NOW, rebuilt=places, rebuilt_since=NOW)
    states = [found.state(0, place) for place in (0, 1, 2, 3, 9, P, Q)]
    assert states == [
        ValueState.QUARANTINED,
        ValueState.DAMAGED,
        ValueState.GOOD,
        ValueState.QUARANTINED,
        ValueState.NEVER_WRITTEN,
        ValueState.REBUILT,
        ValueState.GOOD,
    ]
    assert found.state(63, 0) is ValueState.NOT_LOOKED_AT
    with pytest.raises(ValueError, match="read-only"):
        found.states[0, 0] = 1
    with pytest.raises(ValueError, match="no scrub has begun"):
        build_map(MapCollector(), taken_at=NOW)


def test_the_map_of_the_largest_grid_is_small_whatever_it_is_like() -> None:
    """19 bytes for each group, 25 kB as a picture, 2.5 MB for programs, worn into as many runs as can be."""
    tracemalloc.start()
    grid_map = random_map(65_536, 1)
    tracemalloc.reset_peak()
    shown = picture(grid_map)
    told = document(grid_map)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert grid_map.states.nbytes == 131_072 * 19
    assert peak < 120_000_000
    assert len(shown.model_dump_json()) < 25_000
    assert [len(each) for each in (told.blocks, told.p, told.q, told.records)] == [MOST_RUNS] * 4
    assert told.runs_left_out > 1_000_000
    assert len(told.model_dump_json()) < 2_500_000


def recovery_of(items: Sequence[tuple[RebuildItem, StepState, datetime | None]]) -> Recovery:
    """A recovery whose steps came as far as said."""
    steps = tuple(
        Step(title=str(number), action=WRITE_BACK, arguments=WriteBack(item=item).as_arguments(), touches="x")
        for number, (item, _, _) in enumerate(items)
    )
    plan = Plan(
        target="lab",
        strategy="rebuild_from_parity",
        issue_fingerprint="0" * 16,
        summary="x",
        units=tuple(Unit(title=step.title, steps=(step,)) for step in steps),
    )
    return Recovery(
        id="r",
        plan=plan,
        resources=(),
        claim=Claim(journal="j", recovery="r", fence=Fence(number=1, nonce="0")),
        owner=this_process(),
        stands_on="",
        opened_at=NOW,
        steps=tuple(
            StepRecord(number=number, unit=number, title=str(number), state=state, done_at=at)
            for number, (_, state, at) in enumerate(items)
        ),
    )


def test_what_was_rebuilt_is_what_was_proven_in_this_grid_since_then() -> None:
    """Not what was undone, is older, was deleted, is the manifest, or belongs to a grid of the same name."""
    data = RebuildItem(
        grid="lab",
        grid_uuid=str(UUID),
        group=65,
        role=BlockRole.DATA,
        number=1024 + 3 * 64 + 1,
        key="",
        nature=DamageNature.MISSING,
        ranges=(),
        must_be_absent=False,
        is_restorable=True,
        size_bytes=1,
    )
    p, sums = (data.model_copy(update={"role": role, "number": 65}) for role in (BlockRole.P, BlockRole.SUMS))
    q = p.model_copy(update={"role": BlockRole.Q})
    manifest_copy = data.model_copy(update={"role": BlockRole.MANIFEST, "group": None, "number": 0})
    of_another = data.model_copy(update={"grid_uuid": str(uuid.uuid4())})
    stray = data.model_copy(update={"must_be_absent": True})
    late, early = NOW, NOW - timedelta(days=8)
    ended = recovery_of(
        [
            (data, StepState.COMMITTED, late),
            (p, StepState.COMMITTED, late),
            (q, StepState.COMMITTED, late),
            (sums, StepState.COMMITTED, late),
            (manifest_copy, StepState.COMMITTED, late),
            (of_another, StepState.COMMITTED, late),
            (stray, StepState.COMMITTED, late),
            (p, StepState.UNDONE, late),
            (p, StepState.COMMITTED, early),
            (p, StepState.PLANNED, None),
        ]
    )
    found = list(rebuilt_by([ended], str(UUID), NOW - timedelta(days=7)))
    assert found == [(65, 3), (65, P), (65, Q), (65, SUMS)]


@pytest.fixture
def grid(client: valkey.Valkey) -> Grid:
    """Get a grid of 40 layers, a whole extent and a part of one, with two members of most groups."""
    made = Grid.create(client, "lab", 40)
    made.fill(lambda number: STOCK[number % 8] if number % 1024 < 128 else None, groups=[*range(24), 64, 70])
    return made


def mapped(client: valkey.Valkey, **options: object) -> GridMap:
    return survey(client, "lab", replace(ScrubOptions(), **options), now=NOW)[1]


def rows(shown: MapPicture) -> dict[str, str]:
    return {row.label: row.cells for band in shown.bands for row in band.rows}


def test_each_state_that_can_be_made_on_a_server_is_mapped(client: valkey.Valkey, grid: Grid) -> None:
    """By plain commands, as whatever breaks a grid would; each in its row and column."""
    client.setrange(role_key("lab", 1, 0), 70, b"damage")
    client.delete(role_key("lab", 2, 1))
    for role in (0, 1, 16):
        client.delete(role_key("lab", 3, role))
    client.delete(role_key("lab", 4, 17))
    client.setrange(sums_key("lab", 5), 100, b"damage")
    client.copy(role_key("lab", 7, 0), role_key("lab", 6, 0), replace=True)
    client.set(role_key("lab", 8, 9), b"never written")
    client.set(role_key("lab", 9, 0), b"short")
    client.delete(role_key("lab", 64, 0))
    assert grid.layout.blocks == 1280
    found = mapped(client)
    assert found.beyond_parity == [3]
    drawn = rows(picture(found))
    dots = 40 * "·"
    assert drawn["0-1"] == "■D■X■■D■■D" + 14 * "■" + dots
    assert drawn["2-3"] == "■■MX" + 20 * "■" + dots
    assert drawn["4-5"] == 64 * "·"
    assert drawn["18-19"] == 8 * "·" + "D" + 55 * "·"
    first, second = picture(found).bands
    assert [(row.label, row.cells) for row in first.rows if row.is_check] == [
        ("P", "■■■X" + 20 * "■" + dots),
        ("Q", "■■■■M" + 19 * "■" + dots),
        ("records", "■■■■■D" + 18 * "■" + dots),
    ]
    assert second.rows[0].cells == "M·····■" + 57 * "·"
    assert [row.label for row in second.rows] == ["32-33", "34-35", "36-37", "38-39", "P", "Q", "records"]
    assert (first.title, second.title) == ("layers 0-31, groups 0-63", "layers 32-39, groups 64-127")
    assert second.ruler.split() == [str(group) for group in range(64, 128, 8)]


def test_only_the_groups_asked_for_are_looked_at(client: valkey.Valkey, grid: Grid) -> None:
    """The rest is said to be unknown, not good."""
    assert grid.layout.groups == 128
    drawn = rows(picture(mapped(client, groups=range(3, 6))))
    assert drawn["0-1"] == "---■■■" + 58 * "-"


def recover(journal: Journal, target: Target, around: Surroundings, strategy: Strategy, folder: Path) -> None:
    """Diagnose, plan and carry out, as the flow does, without Prefect."""
    results = {name: look(target, around) for name, look in KIND.diagnostics.items()}
    analysis = analyze(results.values())
    issues = detect_issues(analysis, KIND.rules, target="lab", at=NOW)
    report = DiagnosticReport(
        target="lab", kind="grid", results=results, analysis=analysis, issues=issues, taken_at=NOW
    )
    plan = strategy(issues[0], report, target)
    with open_session(target, around) as session:
        recovery = contract.open_recovery(journal, session, plan, this_process(), at=NOW)
        recovery = contract.save_state(journal, session, recovery, folder=folder, limit_bytes=64 << 20)
        reached = take_all_steps(journal, session, recovery, clock=lambda: NOW)
        contract.close(journal, session, recovery, RecoveryState.HEALTHY, at=NOW, reached=reached)


def test_what_was_healed_and_what_was_given_up_is_shown_as_that(
    client: valkey.Valkey, grid: Grid, valkey_url: str, tmp_path: Path
) -> None:
    """By real recoveries: rebuilt for as long as was asked for, in quarantine until its group is filled."""
    journal = Journal(f"sqlite:///{tmp_path}/journal.sqlite")
    target = Target(name="lab", kind="grid", url=valkey_url, grid="lab")
    around = Surroundings(
        backups=BackupPlace.of(tmp_path / "backups"), now=NOW, recoveries=journal.committed_since
    )
    client.delete(role_key("lab", 1, 1))
    client.delete(role_key("lab", 2, 16))
    client.setrange(sums_key("lab", 4), 100, b"damage")
    recover(journal, target, around, plan_from_parity, tmp_path / "saved")
    for role in (0, 1, 16):
        client.delete(role_key("lab", 3, role))
    recover(journal, target, around, plan_quarantine, tmp_path / "saved")
    past = Past(NOW, journal.committed_since)
    report, found = survey(client, "lab", ScrubOptions(), now=NOW, past=past)
    assert report.consistency.is_consistent
    drawn = {row.label: row.cells[:6] for row in picture(found).bands[0].rows}
    assert [drawn[label] for label in ("0-1", "2-3", "P", "Q", "records")] == [
        "■■■Z■■",
        "■R■Z■■",
        "■■R■■■",
        "■■■■■■",
        "■■■■R■",
    ]
    looked = KIND.diagnostics["grid"](target, around).grid
    assert looked is not None
    assert looked.map == picture(replace(found, rebuilt_since=NOW - timedelta(days=7)))
    late = Past(NOW + timedelta(seconds=1), journal.committed_since)
    later = survey(client, "lab", ScrubOptions(), now=NOW, past=late)[1]
    assert later.state(1, 1) is ValueState.GOOD
    grid.fill(lambda number: STOCK[number % 8], groups=[3])
    assert mapped(client).state(3, 0) is ValueState.GOOD
    client.set(lost_key("lab", 3), b"damage")
    assert mapped(client).state(3, SUMS) is ValueState.LOST
    journal.dispose()


def test_a_journal_that_does_not_answer_costs_a_diagnosis_no_more_than_what_was_rebuilt(
    client: valkey.Valkey, grid: Grid, valkey_url: str, tmp_path: Path
) -> None:
    """Half way through, too; the report says what was not seen."""
    client.delete(role_key("lab", 1, 1))

    def recoveries(since: datetime) -> Iterator[Recovery]:
        yield recovery_of([])
        raise TransientError(f"the journal did not answer what was done since {since:%Y}")

    target = Target(name="lab", kind="grid", url=valkey_url, grid="lab")
    around = Surroundings(backups=BackupPlace.of(tmp_path / "backups"), now=NOW, recoveries=recoveries)
    result = KIND.diagnostics["grid"](target, around)
    said = "what recoveries rebuilt: the journal did not answer what was done since 2026"
    assert result.unseen == (said,)
    assert result.grid is not None
    assert result.grid.map is not None
    assert result.grid.map.bands[0].rows[1].cells[:3] == "■M■"
    assert result.grid.map.rebuilt_since is None
    assert grid.layout.depth == 40


def test_a_sparse_grid_of_full_depth_is_mapped_with_few_requests(client: valkey.Valkey) -> None:
    """131,072 groups, of which four hold anything: two requests for 64 groups, and all four are shown."""
    deep = Grid.create(client, "lab", 65_536)
    deep.fill(lambda number: STOCK[number % 8], groups=[0, 70_000, 131_071])
    client.delete(role_key("lab", 131_071, 5))
    client.set(role_key("lab", 100_000, 2), b"stray")
    client.config_resetstat()
    result = survey(client, "lab", ScrubOptions(), now=NOW)
    asked = client.info("stats")["total_reads_processed"]
    report, found = result
    assert (report.consistency.scrub.damaged_groups, report.consistency.scrub.groups_checked) == (2, 131_072)
    assert asked < 32_768  # about 10,000: requests come in pieces; asking for each group would be 131,072
    shown = picture(found)
    assert (shown.overview, len(shown.bands)) == (None, 4)
    told = document(found)
    assert StateRun(first=block_at(131_071, 5), count=1, state=ValueState.MISSING) in told.blocks
    # Without a record nothing tells which blocks of that group were ever written.
    assert StateRun(first=block_at(100_000, 2), count=1, state=ValueState.LOST) in told.blocks
    assert sum(run.count for run in told.blocks) == 4 * 16


def test_a_watcher_is_told_of_every_group_and_of_suspects_again(client: valkey.Valkey, grid: Grid) -> None:
    """What counts is the second look, at one moment."""
    client.delete(role_key("lab", 3, 0))
    told: list[tuple[int, int, bool]] = []

    class Listener:
        def begin(self, manifest: Manifest) -> None:
            assert manifest == grid.manifest

        def given_up(self, group: int, pages: Iterable[tuple[int, int]]) -> None:
            raise AssertionError(group, pages)

        def looked_at(self, group: int, existing: Sequence[bool], damage: GroupDamage | None) -> None:
            told.append((group, sum(existing), damage is None))

    scrub(client, grid.manifest, ScrubOptions(groups=[2, 3, 40], watcher=Listener()))
    assert told == [(2, 2, True), (3, 2, True), (40, 0, True), (3, 2, False)]


def test_marks_are_told_apart() -> None:
    """Each is one column wide and stands for one state."""
    assert len(STATES) == len(ValueState)
    assert all(len(mark) == 1 for mark in STATES)
