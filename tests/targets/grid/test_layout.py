from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic8.errors import ConfigurationError
from medic8.targets.grid.keys import check_name, manifest_keys, role_key, sums_key
from medic8.targets.grid.layout import Layout, block_at, block_of, cells_of_page, group_of, member_of, page_of


@given(st.integers(0, 65_536 * 32 - 1))
def test_a_block_is_one_member_of_one_group(block: int) -> None:
    """The formulas of the format's description and their inverse agree for every block."""
    assert group_of(block) == block // 1024 * 64 + block % 64
    assert member_of(block) == block % 1024 // 64
    assert block_at(group_of(block), member_of(block)) == block


@given(st.integers(1, 600))
def test_every_block_of_a_grid_is_a_member_exactly_once(depth: int) -> None:
    """The last extent may be partial; no block is forgotten and none is invented."""
    layout = Layout(depth)
    found = [
        block_at(group, member) for group in range(layout.groups) for member in range(layout.members(group))
    ]
    assert sorted(found) == list(range(layout.blocks))


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 99))
def test_a_cell_lies_in_the_page_that_lists_it(x: int, y: int, z: int) -> None:
    """Index, block and page of a cell agree with the cells of that page."""
    cell = Layout(100).cell_index(x, y, z)
    assert cell == (z * 256 + y) * 256 + x
    first, end = cells_of_page(block_of(cell), page_of(cell))
    assert first <= cell < end
    assert end - first == 128


@pytest.mark.parametrize("depth", [0, -1, 65_537])
def test_a_depth_outside_its_limits_is_named_with_them(depth: int) -> None:
    """The message holds the value and both limits."""
    with pytest.raises(ConfigurationError, match=rf"{depth}.*1 and 65536"):
        Layout(depth)


@pytest.mark.parametrize(("at", "axis"), [((256, 0, 0), "x"), ((0, -1, 0), "y"), ((0, 0, 3), "z")])
def test_a_coordinate_outside_the_grid_is_named(at: tuple[int, int, int], axis: str) -> None:
    """The message says which axis, which value and which limits."""
    with pytest.raises(ConfigurationError, match=f"cell coordinate {axis} = .*limits are 0 and"):
        Layout(3).cell_index(*at)


@pytest.mark.parametrize("name", ["", "A", "-x", "a" * 64, "a b", "a{b}", "a/copy", "ä", "x\n"])
def test_a_name_outside_its_limits_is_refused(name: str) -> None:
    """No name can break a hash tag or pass for another grid's copy."""
    with pytest.raises(ConfigurationError, match="1 to 63"):
        check_name(name)


def test_the_keys_are_those_of_the_description() -> None:
    """One hash tag per group, and two for the manifest."""
    assert check_name("lab.1_x-y") == "lab.1_x-y"
    assert manifest_keys("lab") == ("m8:{lab}:manifest", "m8:{lab/copy}:manifest")
    assert [role_key("lab", 70, role) for role in (0, 15, 16, 17)] == [
        "m8:{lab/70}:0",
        "m8:{lab/70}:15",
        "m8:{lab/70}:p",
        "m8:{lab/70}:q",
    ]
    assert sums_key("lab", 70) == "m8:{lab/70}:m"
