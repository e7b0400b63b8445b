"""The tables and the one line at the end: pure."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.accuracy.endings import Ending, ending_of, endings_table
from benchmarks.accuracy.running import Result
from benchmarks.accuracy.scoring import Score, matrix, share, upper_bound_of_none, upper_rate
from benchmarks.accuracy.variant import Answer

#: Type and cause right in so many of so many held-out faults at least; so many healthy runs; so much healed.
LEAST_RIGHT, LEAST_FAULTS, LEAST_HEALTHY, LEAST_HEALED = 0.95, 200, 200, 0.9
LEAST_SOAK_S = 3600.0


@dataclass(frozen=True)
class Soaked:
    """
    What a soak came to.

    Attributes:
        days: Target-days it lasted.
        looks: How many diagnoses.
        treated: Strategies that would have been carried out.
    """

    days: float
    looks: int
    treated: tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """
    All runs, with what is held out.

    Attributes:
        results: Every run.
        held_out: Names of the held-out variants.
        soak: None if there was none.
    """

    results: Sequence[Result]
    held_out: frozenset[str]
    soak: Soaked | None = None

    def scores(self, *, is_held_out: bool | None = None) -> list[Score]:
        """Scores of faults: all, those held out, or the others."""
        return [
            each
            for result in self.results
            if not result.error
            for name, each in zip(result.draw.variants, result.scores, strict=True)
            if each.truth != Answer.NONE and is_held_out in {None, name in self.held_out}
        ]

    @property
    def healthy(self) -> list[Result]:
        """Runs with nothing wrong."""
        return [
            each
            for each in self.results
            if not each.error and all(score.truth == Answer.NONE for score in each.scores)
        ]

    @property
    def tried(self) -> list[Result]:
        """Runs that were healed, or tried to be."""
        return [each for each in self.results if each.healing is not None]


def missed(measured: Measured) -> list[str]:
    """Which targets are not met, one sentence each."""
    held = measured.scores(is_held_out=True)
    right = sum(each.is_cause for each in held)
    lines = []
    if len(held) < LEAST_FAULTS:
        lines.append(f"held-out faults: {len(held)}, at least {LEAST_FAULTS} are needed")
    if right < LEAST_RIGHT * len(held):
        lines.append(
            f"type and cause right in {right} of {len(held)} held-out faults, needed {LEAST_RIGHT:.0%}"
        )
    healthy = measured.healthy
    if len(healthy) < LEAST_HEALTHY:
        lines.append(f"healthy runs: {len(healthy)}, at least {LEAST_HEALTHY} are needed")
    if treated := sum(bool(each.treats) for each in healthy):
        lines.append(f"{treated} of {len(healthy)} healthy runs would have been treated")
    if harm := sum(len(each.harm) for each in measured.tried):
        lines.append(f"{harm} keys were harmed")
    may = [each for each in measured.tried if each.is_healable]
    healed = sum(ending_of(each) is Ending.HEALED for each in may)
    if not may or healed < LEAST_HEALED * len(may):
        lines.append(f"healed {healed} of {len(may)} that may be healed, needed {LEAST_HEALED:.0%}")
    if silent := [each for each in measured.tried if ending_of(each) is Ending.NEITHER and not each.harm]:
        lines.append(f"{len(silent)} runs were neither healed nor restored or refused with a reason")
    if measured.soak is None or measured.soak.days * 86_400 < LEAST_SOAK_S:
        lines.append(f"the soak lasted less than {LEAST_SOAK_S / 3600:g} h")
    elif measured.soak.treated:
        lines.append(f"{len(measured.soak.treated)} false treatments in the soak")
    return lines


def tables(measured: Measured) -> list[str]:
    """Everything in Markdown."""
    tuned, held = measured.scores(is_held_out=False), measured.scores(is_held_out=True)
    lines = ["### Right answers", "| | tuned | held out |", "|---|---|---|"]
    for words, is_so in (
        ("type", lambda each: each.is_type),
        ("type and cause", lambda each: each.is_cause),
        ("type and cause, anywhere in the report", lambda each: each.is_somewhere),
        ("unknown", lambda each: each.answer == "unknown"),
        ("nothing found", lambda each: each.answer == "none"),
    ):
        cells = [share(sum(map(is_so, part)), len(part)) for part in (tuned, held)]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    objects = [[each for each in part if each.is_object is not None] for part in (tuned, held)]
    cells = [share(sum(bool(each.is_object) for each in part), len(part)) for part in objects]
    lines.append(f"| object, of those that have one and an answer | {' | '.join(cells)} |")
    healthy_scores = [score for each in measured.healthy for score in each.scores]
    for title, part in (("tuned and healthy", [*tuned, *healthy_scores]), ("held out", held)):
        lines += ["", f"### Truth by answer: {title}", *matrix(part)]
    lines += ["", *_healthy(measured), "", *_times(measured), "", *_variants(measured)]
    return lines


def _healthy(measured: Measured) -> list[str]:
    healthy, tried = measured.healthy, measured.tried
    alarms, treated = sum(bool(each.said) for each in healthy), sum(bool(each.treats) for each in healthy)
    lines = [
        "### Healthy runs, healing and harm",
        f"- Healthy runs with an issue: {share(alarms, len(healthy))}.",
        f"- Healthy runs that would have been treated: {share(treated, len(healthy))}"
        + (f"; upper bound {upper_bound_of_none(len(healthy)):.1%}." if not treated else "."),
        f"- Roots beyond the faults: {sum(each.extra for each in measured.results)}.",
        f"- Keys harmed: {sum(len(each.harm) for each in tried)} in {len(tried)} treatments.",
    ]
    if measured.soak is not None:
        soak = measured.soak
        lines.append(
            f"- Soak: {len(soak.treated)} false treatments in {soak.days:.4f} target-days, {soak.looks} looks"
            f" ({len(soak.treated) / soak.days if soak.days else 0:.1f} per target-day;"
            f" upper bound {upper_rate(len(soak.treated), soak.days):.0f})."
        )
    return [*lines, "", *endings_table(tried)]


def _times(measured: Measured) -> list[str]:
    lines = ["| seconds | n | median | p95 |", "|---|---|---|---|"]
    for words, times in (
        ("to detect", [each.detect_s for each in measured.results if each not in measured.healthy]),
        ("to heal", [each.heal_s for each in measured.results]),
    ):
        known = sorted(each for each in times if each is not None)
        if known:
            p95 = known[min(len(known) - 1, int(len(known) * 0.95))]
            lines.append(f"| {words} | {len(known)} | {statistics.median(known):.1f} | {p95:.1f} |")
    return lines


def _variants(measured: Measured) -> list[str]:
    by: dict[str, list[Score]] = defaultdict(list)
    wrong: dict[str, Counter[str]] = defaultdict(Counter)
    for result in measured.results:
        for name, each in zip(result.draw.variants, result.scores, strict=False):
            by[name].append(each)
            if not each.is_cause:
                wrong[name][each.answer] += 1
    unmade = Counter(name for each in measured.results if each.error for name in each.draw.variants)
    lines = ["### By variant", "| variant | type and cause right | answered instead | not made |"]
    lines.append("|---|---|---|---|")
    for name in sorted({*by, *unmade}):
        right, instead = (
            sum(each.is_cause for each in by[name]),
            ", ".join(f"{answer} x{count}" for answer, count in wrong[name].most_common()),
        )
        lines.append(f"| {name} | {right} of {len(by[name])} | {instead} | {unmade[name] or ''} |")
    return lines


def last_line(measured: Measured, not_met: Sequence[str], *, seed: int) -> str:
    """All in one line."""
    held, tuned = measured.scores(is_held_out=True), measured.scores(is_held_out=False)
    healthy = measured.healthy
    parts = [
        f"accuracy {'MET' if not not_met else 'NOT MET'} (seed {seed})",
        f"type and cause held out {share(sum(each.is_cause for each in held), len(held))}",
        f"tuned {share(sum(each.is_cause for each in tuned), len(tuned))}",
        f"healthy runs treated {sum(bool(each.treats) for each in healthy)} of {len(healthy)}",
        f"harm {sum(len(each.harm) for each in measured.tried)}",
    ]
    return "; ".join([*parts, *not_met])
