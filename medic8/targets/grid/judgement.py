"""
What the pages of a damaged parity group must have been, and how that is known.

A page that matches either copy of its checksum is good; one that matches
neither is an erasure. Up to two erasures at one offset are solved by P and Q,
and the solution must match a copy of its checksum or, where there is none,
satisfy the equation that was not used. What nothing proves is lost: no bytes
are offered for it. Everything here is pure: an image in, a judgement out.
Longer than most modules, because judging with a record and judging without one
share one working state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medic8.model.grid import Proof
from medic8.targets.grid import checksum
from medic8.targets.grid.checksum import Sums
from medic8.targets.grid.format import GroupSums, pack_block, pack_sums
from medic8.targets.grid.image import Evidence, Flags, GroupImage, number_of, weigh
from medic8.targets.grid.layout import MEMBERS, PAGE_BYTES, PAGES, ROLES, P, Q
from medic8.targets.grid.parity import Octets, p_of, q_of, solve, syndromes

#: Pages from outside the group (a backup, a replica), by role and page.
Candidates = Mapping[tuple[int, int], Sequence[bytes]]

#: Pages that follow from an assumption, by role and page, and how each is known.
_Found = dict[tuple[int, int], tuple[Octets, Proof]]

_MOST_SOLVED = 2

#: Two absent blocks look like one old value with a chance of 15 in 256^n if *n* bytes of it differ. With 8
#: that is about as rare as a wrong page that matches its checksum; with fewer neither reading is believed.
_LEAST_CHANGED = 8


@dataclass(slots=True)
class Judgement:
    """
    The group as it must have been, as far as that is known.

    Attributes:
        evidence: What was read.
        pages: 18 x 16 x 4,096 bytes; what was read where nothing is known to be wrong.
        is_known: Pages whose bytes are known.
        exists: For each role, whether the value must be there.
        proofs: Why, for each page by role and number that differs from what was read.
        is_stale: Pages that match their footer and are older than their group.
        disagrees: P or Q, where every checksum agrees and it does not match the data.
        is_disputed: Whether, without a usable ``:m``, nothing tells which blocks are right.
    """

    evidence: Evidence
    pages: Octets
    is_known: Flags
    exists: list[bool]
    proofs: dict[tuple[int, int], Proof]
    is_stale: Flags
    disagrees: set[int]
    is_disputed: bool = False

    @property
    def is_written(self) -> bool:
        """Whether anything of the group must be there."""
        return any(self.exists)

    def sums(self, role: int, *, for_record: bool) -> Sums | None:
        """
        The page checksums that a footer (or ``:m``) must hold for *role*; None if one is unknown.

        For a lost page they stay what they are: they are what a backup will have to match.
        """
        evidence = self.evidence
        known = self.is_known[role]
        found = np.where(known, self._page_sums(role), np.uint64(0))
        if known.all():
            return found
        record = evidence.sound_record
        by_record = record.sums[role] if record is not None and record.exists(role) else None
        copies = (by_record, evidence.footer(role)) if for_record else (evidence.footer(role), by_record)
        kept = next((copy for copy in copies if copy is not None), None)
        return None if kept is None else np.where(known, found, kept)

    def _page_sums(self, role: int) -> Sums:
        sums: Sums = checksum.hash_rows(self.pages[role]) ^ self.evidence.keys[role]
        return sums

    def value(self, role: int) -> bytes | None:
        """The whole value that *role* must have; None unless all of it is known and it must be there."""
        if not self.exists[role] or not self.is_known[role].all():
            return None
        image = self.evidence.image
        return pack_block(
            self.pages[role], image.grid, role, number_of(image.group, role), self._page_sums(role)
        )

    def record(self) -> bytes | None:
        """The ``:m`` value that must be there; None if a part of it is unknown."""
        if self.is_disputed or not self.is_written:
            return None
        image = self.evidence.image
        sums = np.zeros((ROLES, PAGES), dtype=np.uint64)
        for role in range(ROLES):
            if self.exists[role]:
                row = self.sums(role, for_record=True)
                if row is None:
                    return None
                sums[role] = row
        return pack_sums(image.grid, image.group, GroupSums(tuple(self.exists[:MEMBERS]), sums))


def judge(
    image: GroupImage,
    grid_key: int,
    members: int,
    candidates: Candidates | None = None,
    *,
    deep: bool = False,
) -> Judgement:
    """
    Say what every page of a group must have been, as far as anything proves it.

    Args:
        image: The group, read at one moment.
        grid_key: What `checksum.grid_key` returned for the grid's UUID.
        members: How many data blocks of the group lie inside the grid.
        candidates: Pages from outside the group; one is used only if it matches a checksum.
        deep: Also compare P and Q with the data where every checksum agrees.
    """
    evidence = weigh(image, grid_key)
    court = _Court(evidence, members, candidates or {})
    if image.is_empty:
        return court.verdict
    if evidence.sound_record is not None:
        court.decide_with_record()
    else:
        court.decide_without_record()
    if deep:
        court.compare_parity()
    return court.verdict


class _Court:
    """
    The working state of one judgement.

    Attributes:
        verdict: What is known so far.
        erased: Pages that nothing speaks for.
        suspect: Pages that their footer speaks for and a sound ``:m`` against.
    """

    def __init__(self, evidence: Evidence, members: int, candidates: Candidates) -> None:
        self.evidence = evidence
        self.members = members
        record = evidence.sound_record
        values = evidence.image.values
        if evidence.image.is_empty:
            exists = [False] * ROLES
        elif record is not None:
            exists = [record.exists(role) for role in range(ROLES)]
        else:
            exists = [role >= MEMBERS or isinstance(values[role], bytes) for role in range(ROLES)]
        there = np.array(exists)[:, np.newaxis]
        good = evidence.is_good_by_record if record is not None else evidence.is_good_by_footer
        self.suspect = evidence.is_good_by_footer & ~good
        self.erased = there & ~good & ~self.suspect
        self.verdict = Judgement(
            evidence=evidence,
            pages=evidence.pages.copy(),
            is_known=~(self.erased | self.suspect),
            exists=exists,
            proofs={},
            is_stale=np.zeros((ROLES, PAGES), dtype=np.bool_),
            disagrees=set(),
        )
        for role in range(ROLES):
            if not exists[role] and not self.suspect[role].any():
                self.verdict.pages[role] = 0
        self._take(candidates)

    def _take(self, candidates: Candidates) -> None:
        """
        Put pages from outside where they match a checksum; they are erasures no more.

        Not where a footer speaks for what is there and ``:m`` against it: which of
        them is old only parity can say. A backup agrees with an old ``:m``, and to
        believe the two would turn back what was written since.
        """
        record = self.evidence.sound_record
        for (role, page), offers in candidates.items():
            if not self.erased[role, page]:
                continue
            copy = record.sums[role] if record is not None else self.evidence.footer(role)
            if copy is None:
                continue
            wanted = int(copy[page] ^ self.evidence.keys[role, page])
            for offer in offers:
                if len(offer) == PAGE_BYTES and checksum.hash_page(offer) == wanted:
                    self._accept(role, page, np.frombuffer(offer, dtype=np.uint8), Proof.CANDIDATE)
                    self.erased[role, page] = False
                    break

    def _accept(self, role: int, page: int, content: Octets, proof: Proof) -> None:
        self.verdict.pages[role, page] = content
        self.verdict.is_known[role, page] = True
        self.verdict.proofs[role, page] = proof

    # With a sound record: which blocks exist is known, and every page has a checksum.

    def decide_with_record(self) -> None:
        """Solve each column; pages of suspects are first believed and, if that does not fit, solved too."""
        strays = [r for r in range(MEMBERS) if self.suspect[r].any() and not self.verdict.exists[r]]
        believed = [column for columns in self._alike() for column in self._believe(columns)]
        for role in strays:
            # A block that :m does not know is real only if parity says so at every offset.
            if set(np.flatnonzero(self.suspect[role])) <= set(believed) and self.suspect[role].all():
                self.verdict.exists[role] = True
            else:
                believed = [column for column in believed if not self.suspect[role, column]]
        for column in believed:
            self.suspect[:, column] = False
            self.verdict.is_known[:, column] |= ~self.erased[:, column]
        for role in strays:
            if not self.verdict.exists[role]:
                self.verdict.pages[role] = 0
                self.verdict.is_known[role] = True
                self.suspect[role] = False
        for columns in self._alike():
            self._solve_by_record(columns)

    def _alike(self) -> Iterator[list[int]]:
        """Columns that need solving, those with the same pattern of erased and suspect pages together."""
        patterns: dict[bytes, list[int]] = {}
        for column in range(PAGES):
            pattern = np.concatenate((self.erased[:, column], self.suspect[:, column]))
            if pattern.any():
                patterns.setdefault(pattern.tobytes(), []).append(column)
        yield from list(patterns.values())

    def _believe(self, columns: list[int]) -> list[int]:
        """
        The *columns* where believing the suspects satisfies P, Q and the checksums of what is solved.

        A column believed by both equations means that ``:m`` is what is old. It
        is tried first, because the other reading needs more values to be wrong.
        """
        first = columns[0]
        if not self.suspect[:, first].any():
            return []
        lost = _roles(self.erased[:, first])
        if len(lost) > _MOST_SOLVED:
            return []
        solved, fits = self._solve(columns, lost)
        record = self.evidence.sound_record
        proven = []
        for at, column in enumerate(columns):
            agree = fits[at]
            for place, role in enumerate(lost):
                wanted = {int(copy[column]) for copy in (self.evidence.footer(role),) if copy is not None}
                if record is not None:
                    wanted.add(int(record.sums[role, column]))
                agree = agree and self._sum(role, column, solved[place, at]) in wanted
            if agree:
                proven.append(column)
                for place, role in enumerate(lost):
                    self._accept(role, column, solved[place, at], Proof.CHECKSUM)
                    self.erased[role, column] = False
        return proven

    def _solve_by_record(self, columns: list[int]) -> None:
        """Solve erased and suspect pages; the solution must match ``:m``."""
        doubtful = self.erased[:, columns[0]] | self.suspect[:, columns[0]]
        lost = _roles(doubtful)
        record = self.evidence.sound_record
        if not lost or len(lost) > _MOST_SOLVED or record is None:
            return
        solved, _ = self._solve(columns, lost, check=False)
        for at, column in enumerate(columns):
            if all(
                self._sum(role, column, solved[place, at]) == int(record.sums[role, column])
                for place, role in enumerate(lost)
            ):
                for place, role in enumerate(lost):
                    self.verdict.is_stale[role, column] = self.suspect[role, column]
                    self._accept(role, column, solved[place, at], Proof.CHECKSUM)

    # Without a record: footers are the only checksums, and absent blocks may be lost or never written.

    def decide_without_record(self) -> None:
        """
        Find the fewest assumptions under which P and Q hold, and solve.

        Zeros satisfy the equations for blocks never written; a block that was
        written leaves syndromes that only its own member number explains. Two
        written blocks use both equations up: they always fit, which proves
        nothing, so they are taken only if no reading that can fail has held.
        """
        values = self.evidence.image.values
        unknown = [role for role in range(self.members) if not isinstance(values[role], bytes)]
        readings: list[tuple[int, ...]] = [(), *((role,) for role in unknown)]
        for written in readings:
            found = self._assume(written, is_only_reading=len(written) == len(unknown))
            if found is not None:
                self._adopt(written, found)
                return
        if (one := self._one_old_value(unknown)) is not None:
            role, found = one
            # Not Q beside absent blocks: two of them with equal content would show in Q alone as well.
            is_q_alone = role == Q and bool(unknown)
            is_told = len(unknown) < _MOST_SOLVED or self._changed_bytes(role, found) >= _LEAST_CHANGED
            if is_told and not is_q_alone:
                self.verdict.is_stale[role] = self.evidence.is_good_by_footer[role]
                self._adopt((), found)
                return
        elif len(unknown) == _MOST_SOLVED:
            found = self._assume(tuple(unknown), is_only_reading=True)
            if found is not None:
                self._adopt(tuple(unknown), found)
                return
        self.verdict.is_disputed = True
        for role in unknown:
            self.verdict.exists[role] = True
            self.verdict.is_known[role] = False

    def _one_old_value(self, unknown: list[int]) -> tuple[int, _Found] | None:
        """Which of the values that are there is sound in itself and older than the others, if one is."""
        for role in range(ROLES):
            if role in unknown:
                continue
            found = self._assume((role,), is_only_reading=False, distrusted=role)
            if found is not None:
                return role, found
        return None

    def _assume(
        self, written: tuple[int, ...], *, is_only_reading: bool, distrusted: int | None = None
    ) -> _Found | None:
        """The pages that follow if exactly *written* of the absent blocks were written; None if none can."""
        found: _Found = {}
        is_supported = False
        patterns: dict[tuple[int, ...], list[int]] = {}
        for column in range(PAGES):
            lost = tuple(sorted({*_roles(self.erased[:, column]), *written}))
            patterns.setdefault(lost, []).append(column)
        for lost, columns in patterns.items():
            if len(lost) > _MOST_SOLVED:
                continue
            solved, fits = self._solve(columns, lost)
            for at, column in enumerate(columns):
                copies = {role: self.evidence.footer(role) if role != distrusted else None for role in lost}
                matches = [
                    self._sum(role, column, solved[place, at]) == int(copy[column])
                    for place, role in enumerate(lost)
                    if (copy := copies[role]) is not None
                ]
                if not fits[at] or not all(matches):
                    return None
                if len(lost) < _MOST_SOLVED or matches or is_only_reading:
                    is_supported = True
                    for place, role in enumerate(lost):
                        proof = Proof.PARITY if copies[role] is None else Proof.CHECKSUM
                        found[role, column] = (solved[place, at], proof)
        return found if is_supported else None

    def _changed_bytes(self, role: int, found: _Found) -> int:
        """How many bytes of *role* would be others: each is one that P and Q agree on."""
        pages = self.verdict.pages[role]
        return sum(
            int(np.count_nonzero(content != pages[page]))
            for (at, page), (content, _) in found.items()
            if at == role
        )

    def _adopt(self, written: tuple[int, ...], found: _Found) -> None:
        for role in written:
            # Zeros at every offset are what a block reads as that was never written.
            self.verdict.exists[role] = any(
                (role, column) not in found or found[role, column][0].any() for column in range(PAGES)
            )
            self.verdict.is_known[role] = not self.verdict.exists[role]
        for (role, column), (content, proof) in found.items():
            if self.verdict.exists[role]:
                self._accept(role, column, content, proof)

    # Both.

    def compare_parity(self) -> None:
        """Where every page matches its checksums, let the data and one of P and Q convict the other."""
        columns = [c for c in range(PAGES) if not self.erased[:, c].any() and not self.suspect[:, c].any()]
        verdict = self.verdict
        for column in columns:
            rows = verdict.pages[:, column]
            p_left, q_left = syndromes(rows)
            wrong = [role for role, left in ((P, p_left), (Q, q_left)) if left.any()]
            verdict.disagrees.update(wrong)
            if wrong == [P]:
                self._accept(P, column, p_of(rows[:MEMBERS]), Proof.PARITY)
            elif wrong == [Q]:
                self._accept(Q, column, q_of(rows[:MEMBERS]), Proof.PARITY)
            elif wrong:
                verdict.is_known[wrong, column] = False

    def _solve(
        self, columns: list[int], lost: tuple[int, ...], *, check: bool = True
    ) -> tuple[Octets, list[bool]]:
        """Solve the *lost* rows of *columns*; and say for each column whether P and Q then hold."""
        rows = self.verdict.pages[:, columns].reshape(ROLES, -1)
        rows[list(lost)] = 0
        solved = solve(rows, lost) if lost else np.zeros((0, rows.shape[1]), dtype=np.uint8)
        fits = [True] * len(columns)
        if check and len(lost) < _MOST_SOLVED:
            rows[list(lost)] = solved
            p_left, q_left = syndromes(rows)
            left = (p_left | q_left).reshape(len(columns), PAGE_BYTES)
            fits = [not column.any() for column in left]
        return solved.reshape(len(lost), len(columns), PAGE_BYTES), fits

    def _sum(self, role: int, page: int, content: Octets) -> int:
        return checksum.hash_page(content.tobytes()) ^ int(self.evidence.keys[role, page])


def _roles(flags: Flags) -> tuple[int, ...]:
    return tuple(int(role) for role in np.flatnonzero(flags))
