"""What is said about a memory grid: damage, the result of a scrub, and the report of a diagnosis."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from medic8.model.frozen import Frozen
from medic8.model.grid_map import MapPicture


class DamageNature(StrEnum):
    """What is wrong with one value of a grid."""

    MISSING = "missing"
    """It was written and is not there."""
    DAMAGED = "damaged"
    """Pages match neither copy of their checksum."""
    FOREIGN = "foreign"
    """It belongs to another grid."""
    MISPLACED = "misplaced"
    """It belongs to another place of the same grid."""
    STALE = "stale"
    """It is sound in itself and older than the rest of its group."""
    CHECKSUMS = "checksums"
    """The pages are good; only the checksums beside them are not."""
    WRONG_TYPE = "wrong_type"
    """The key holds something other than a string."""
    STRAY = "stray"
    """It was never written by the grid and is there all the same."""
    TRUNCATED = "truncated"
    """It is shorter or longer than it should be."""
    PARITY = "parity"
    """Every checksum agrees, and P or Q does not agree with the data."""


class BlockRole(StrEnum):
    """What a value is for."""

    DATA = "data"
    P = "p"
    Q = "q"
    SUMS = "m"
    """The group's record of checksums and existing blocks."""
    LOST = "lost"
    """The group's list of pages that were given up."""
    MANIFEST = "manifest"


class Proof(StrEnum):
    """Why rebuilt bytes are known to be the right ones."""

    CHECKSUM = "checksum"
    """They match a copy of their checksum."""
    PARITY = "parity"
    """No usable checksum, but both P and Q leave exactly these bytes."""
    CANDIDATE = "candidate"
    """They come from outside the group (a backup, a replica) and match a checksum."""
    COPY = "copy"
    """They follow from good pages, or from the other copy."""


class CellRange(Frozen):
    """
    Cells by linear index ``(z * 256 + y) * 256 + x``.

    Attributes:
        first: The first cell.
        count: How many cells.
    """

    first: int
    count: int


class BlockDamage(Frozen):
    """
    What is wrong with one value of a parity group.

    Attributes:
        role: What the value is for.
        member: Which data block of the group, 0 to 15; None for P, Q and the two records.
        block: Number of the block in the grid; None for P, Q and the two records.
        group: Number of the parity group.
        nature: What is wrong.
        pages: Pages, 0 to 15, whose content is concerned.
        is_footer_concerned: Whether the checksums beside the pages must be written as well.
        can_be_rebuilt: Whether every concerned byte is known.
        proof: Why, if so.
        lost_pages: Pages whose content nothing in the group can prove.
        lost_cells: The cells of the lost pages, ascending.
        detail: For a person; names blocks and groups, never keys.
    """

    role: BlockRole
    member: int | None
    block: int | None
    group: int
    nature: DamageNature
    pages: tuple[int, ...]
    is_footer_concerned: bool
    can_be_rebuilt: bool
    proof: Proof | None
    lost_pages: tuple[int, ...]
    lost_cells: tuple[CellRange, ...]
    detail: str


class GroupDamage(Frozen):
    """
    Everything that is wrong with one parity group.

    Attributes:
        group: Number of the group.
        blocks: One entry for each value concerned: data by member, then P, Q, the record of checksums, the
            list of lost pages.
    """

    group: int
    blocks: tuple[BlockDamage, ...]

    @property
    def can_be_rebuilt(self) -> bool:
        """Whether nothing of the group is lost."""
        return all(block.can_be_rebuilt for block in self.blocks)

    @property
    def lost_cells(self) -> tuple[CellRange, ...]:
        """The cells that nothing in the group can prove."""
        return tuple(cells for block in self.blocks for cells in block.lost_cells)


class ByteRange(Frozen):
    """
    A stretch of a value.

    Attributes:
        offset: First byte.
        length: Bytes.
    """

    offset: int
    length: int


class RebuildItem(Frozen):
    """
    One value to bring back, as plain data that another process can act on.

    Attributes:
        grid: Name of the grid.
        grid_uuid: Its UUID, so that a grid created anew under the name is not written.
        group: Number of the parity group; None for a copy of the manifest.
        role: What the value is for.
        number: Block number; group number for P, Q and the record of checksums; 0 or 1 for a manifest copy.
        key: The value's key.
        nature: What is wrong with it.
        ranges: The stretches to write, ascending; empty if the whole value is written, or deleted.
        must_be_absent: Whether the value is to be deleted (nature ``stray``).
        is_restorable: Whether what is there now can be put back byte for byte (not: a value of another type).
        size_bytes: How many bytes will be written.
    """

    grid: str
    grid_uuid: str
    group: int | None
    role: BlockRole
    number: int
    key: str
    nature: DamageNature
    ranges: tuple[ByteRange, ...]
    must_be_absent: bool
    is_restorable: bool
    size_bytes: int


class QuarantineItem(Frozen):
    """
    The pages of one parity group that no source proves, as plain data that another process can act on.

    Attributes:
        grid: Name of the grid.
        grid_uuid: Its UUID, so that a grid created anew under the name is not written.
        group: Number of the parity group.
        pages: For each of the 16 members, for P and for Q, which of its pages: bit *n* is page *n*.
        held: SHA-256 over the checksums that the pages with cells had, so that a yes to one loss is none to a
            later one of other content in the same pages; empty in plans from before there was this.
    """

    grid: str
    grid_uuid: str
    group: int
    pages: tuple[Annotated[int, Field(ge=0, lt=1 << 16)], ...] = Field(min_length=18, max_length=18)
    held: str = ""

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """Role (0 to 15 for data, then P and Q) and number of each page, ascending."""
        return tuple(
            (role, page) for role, bitmap in enumerate(self.pages) for page in range(16) if bitmap >> page & 1
        )

    @property
    def data(self) -> tuple[tuple[int, int], ...]:
        """Member and number of each page of data: those that hold cells."""
        return tuple((role, page) for role, page in self.places if role < 16)  # noqa: PLR2004 - see pages


class ScrubReport(Frozen):
    """
    What a scrub saw.

    Attributes:
        groups_checked: Parity groups looked at, empty ones included.
        groups_total: Parity groups of the grid.
        blocks_checked: Data, P and Q values read and judged.
        bytes_read: Bytes of values received.
        duration_s: Wall time, pauses of the rate limit included.
        suspicions: Groups that were read again at one moment because the first look was not clean.
        damaged_groups: How many groups are damaged.
        damage: The damaged groups, ascending; at most as many as the caller allowed.
        lost_cells: How many cells nothing can prove any more.
        is_deep: Whether P and Q were compared with the data as well.
        is_complete: Whether every group asked for was looked at.
        quarantined_pages: Pages that were given up and read as zeros since, by the lists of lost pages.
    """

    groups_checked: int
    groups_total: int
    blocks_checked: int
    bytes_read: int
    duration_s: float
    suspicions: int
    damaged_groups: int
    damage: tuple[GroupDamage, ...]
    lost_cells: int
    is_deep: bool
    is_complete: bool
    quarantined_pages: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether no damage was found; True for groups looked at only."""
        return self.damaged_groups == 0


class GridHealth(Frozen):
    """
    Whether the grid is there, and what could take it away.

    Attributes:
        name: Name of the grid.
        uuid: Its UUID.
        width: Cells in x.
        height: Cells in y.
        depth: Layers in z.
        created_s: When it was created, Unix time in seconds.
        blocks_total: Data blocks the grid has room for.
        blocks_existing: Data blocks ever written, by the records of checksums that were read.
        manifest_copies_good: 2 if both copies are good, 1 if one must be rebuilt from the other.
        risks: Why the server may drop keys of the grid, a sentence each; with any, no repair starts.
        replica_of: Where the primary is if the server asked is a replica, else empty; with it, no repair
            starts either.
    """

    name: str
    uuid: str
    width: int
    height: int
    depth: int
    created_s: int
    blocks_total: int
    blocks_existing: int
    manifest_copies_good: int
    risks: tuple[str, ...]
    replica_of: str = ""


class Source(StrEnum):
    """Where the right bytes come from."""

    PARITY = "parity"
    """The rest of the group, or the other copy of a checksum or manifest."""
    REPLICA = "replica"
    """A replica of the server, where the rest of the group does not suffice."""
    BACKUP = "backup"
    """A backup, where the rest of the group does not suffice."""


class GroupRepair(Frozen):
    """
    What can be written back into one parity group.

    Attributes:
        group: Number of the group; None for the manifest.
        source: Where the right bytes come from.
        backup: The backup's id; empty for other sources.
        replica: Where the replica is, host and port; empty for other sources.
        items: What can be written, data by member, then P, Q, the record of checksums.
        lost_pages: Pages that this source cannot prove either.
        by_hand: Values that a person has to move away first, one sentence each.
    """

    group: int | None
    source: Source
    backup: str = ""
    replica: str = ""
    items: tuple[RebuildItem, ...]
    lost_pages: int = 0
    by_hand: tuple[str, ...] = ()


class GridConsistency(Frozen):
    """
    Whether every byte is what was written.

    Attributes:
        scrub: What the scrub saw.
        repairs: What can be written back; a group for which parity does not suffice has one entry for what
            parity alone can do, one for what it can do with a replica, and one with a backup.
        beyond_proof: What no source proves, by group.
        not_given_up: What stands in the way of giving up more than that, one sentence each.
        unusable_replicas: Replicas that could not be used, and why, one sentence each.
        unusable_backups: Backups that could not be used, and why, one sentence each.
    """

    scrub: ScrubReport
    repairs: tuple[GroupRepair, ...] = ()
    beyond_proof: tuple[QuarantineItem, ...] = ()
    not_given_up: tuple[str, ...] = ()
    unusable_replicas: tuple[str, ...] = ()
    unusable_backups: tuple[str, ...] = ()

    @property
    def is_consistent(self) -> bool:
        """Whether all of the grid was looked at and no damage was found."""
        return self.scrub.is_complete and self.scrub.is_clean


class GridPerformance(Frozen):
    """
    How the server answered during the scrub.

    Attributes:
        read_median_s: Median time to read one page of 4 KiB alone; None if none was read.
        read_p99_s: The time 99 of 100 such reads stayed under.
        read_worst_s: The longest such read.
        reads_timed: How many reads were timed.
        throughput_bytes_per_s: Bytes read per second of the scrub; None if nothing was read.
    """

    read_median_s: float | None
    read_p99_s: float | None
    read_worst_s: float | None
    reads_timed: int
    throughput_bytes_per_s: float | None


class GridReport(Frozen):
    """
    The diagnosis of one grid.

    Attributes:
        health: Whether it is there, and what could take it away.
        consistency: Whether every byte is what was written.
        performance: How the server answered meanwhile.
        map: Where the damage is, as a picture; None if nobody asked for one.
    """

    health: GridHealth
    consistency: GridConsistency
    performance: GridPerformance
    map: MapPicture | None = None
