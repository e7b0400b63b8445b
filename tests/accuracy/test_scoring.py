"""What counts as right, and how sure one may be."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from benchmarks.accuracy.catalogue import catalogue
from benchmarks.accuracy.drawing import Draw, draws
from benchmarks.accuracy.endings import Ending, ending_of, endings_table
from benchmarks.accuracy.oracle import harm, mishealed
from benchmarks.accuracy.running import CrashError, Result, SideError, counted_as_wrong, crashed
from benchmarks.accuracy.scenery import Scenery
from benchmarks.accuracy.scoring import Said, matrix, score, upper_bound_of_none, upper_rate, wilson
from benchmarks.accuracy.telling import Measured, Soaked, missed
from benchmarks.accuracy.variant import Answer, Cause, Truth

READER = Truth(Answer.MEMORY_LEAK, Cause.UNREAD_OUTPUT, ("reader",))
MONITOR = Truth(Answer.SLOW_OPERATIONS, Cause.MONITOR)
WELL = Truth(Answer.NONE)
SAID_READER = Said("memory_leak", frozenset({Cause.UNREAD_OUTPUT}), "client READER waits")
SAID_MONITOR = Said("slow_operations", frozenset({Cause.MONITOR}))
SAID_SLOW = Said("slow_operations", frozenset({Cause.UNKNOWN}))


def test_type_cause_and_object_are_scored_each() -> None:
    """A right type with another cause is no right answer."""
    (right,) = score([READER], [SAID_READER])
    assert (right.is_type, right.is_cause, right.is_object) == (True, True, True)
    (other,) = score([READER], [replace(SAID_READER, causes=frozenset({Cause.SCRIPTS}), text="scripts")])
    assert (other.is_type, other.is_cause, other.is_object) == (True, False, False)
    (unknown,) = score([READER], [Said("unknown")])
    assert (unknown.answer, unknown.is_type) == ("unknown", False)


def test_what_stands_first_is_the_answer() -> None:
    """A fault that is named below another root, or as a symptom only, was not found first."""
    (below,) = score([MONITOR], [SAID_READER, SAID_MONITOR])
    assert (below.answer, below.is_type, below.is_somewhere) == ("memory_leak", False, True)
    (symptom,) = score([MONITOR], [replace(SAID_MONITOR, is_root=False)])
    assert (symptom.answer, symptom.is_cause, symptom.is_somewhere) == ("none", False, True)


def test_two_faults_are_answered_by_two_roots_in_any_order() -> None:
    """One root does not answer two faults, unless they are of one type and cause."""
    assert [each.is_cause for each in score([READER, MONITOR], [SAID_MONITOR, SAID_READER])] == [True, True]
    assert [each.is_cause for each in score([READER, MONITOR], [SAID_READER])] == [True, False]
    assert [each.is_cause for each in score([READER, MONITOR], [SAID_SLOW, SAID_READER])] == [True, False]
    assert [each.is_cause for each in score([MONITOR, MONITOR], [SAID_MONITOR])] == [True, True]


def test_a_healthy_state_is_right_if_nothing_is_said() -> None:
    """And wrong whatever is."""
    assert [each.is_cause for each in score([WELL], [])] == [True]
    assert [each.is_cause for each in score([WELL], [SAID_SLOW])] == [False]
    assert [each.is_cause for each in score([MONITOR], [])] == [False]


def test_a_cause_that_is_not_listed_may_only_be_left_untold() -> None:
    """Whoever names a listed one is wrong."""
    odd = Truth(Answer.SLOW_OPERATIONS, Cause.OTHER)
    assert [score([odd], [each])[0].is_cause for each in (SAID_SLOW, SAID_MONITOR)] == [True, False]


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 0, 0.0, 1.0), (190, 200, 0.9104, 0.9726), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)],
)
def test_the_interval_is_wilsons(right: int, count: int, low: float, high: float) -> None:
    """As tables have it."""
    assert wilson(right, count) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


def test_none_in_n_tries_is_not_nothing() -> None:
    """Three in n, and anything where nothing was tried."""
    assert [upper_bound_of_none(count) for count in (300, 2, 0)] == [0.01, 1.0, 1.0]


@pytest.mark.parametrize(("count", "bound"), [(0, 2.996), (1, 4.744), (10, 16.962)])
def test_a_rate_has_an_upper_bound(count: int, bound: float) -> None:
    """Poisson's, as tables have it; twice the time halves it."""
    assert upper_rate(count, 1.0) == pytest.approx(bound, rel=0.01)
    assert upper_rate(count, 2.0) == pytest.approx(bound / 2, rel=0.01)


def test_a_cell_of_the_matrix_has_n_and_an_interval() -> None:
    """By rows."""
    lines = matrix([*score([MONITOR], [SAID_MONITOR]), *score([MONITOR], [SAID_READER])])
    (row,) = [line for line in lines if line.startswith("| slow_operations")]
    assert row == "| slow_operations | 0 | 1 (9%-91%) | 0 | 1 (9%-91%) | 0 | 0 | 0 | 0 | 2 |"


def test_the_same_seed_draws_the_same_and_a_quarter_has_two_faults() -> None:
    """Every variant is drawn as often as every other, and who forbids company has none."""
    variants, held = catalogue()
    names = [each for each in variants if each not in held and not variants[each].is_healthy]
    drawn, again = (draws(variants, names, 400, random.Random(3)) for _ in range(2))
    assert drawn == again
    pairs = [each for each in drawn if len(each.variants) == 2]
    assert 70 <= len(pairs) <= 130
    assert not any(variants[name].alone for each in pairs for name in each.variants)
    assert len({variants[name].kind for name in pairs[0].variants}) == 1
    firsts = [each.variants[0] for each in drawn]
    assert max(map(firsts.count, names)) - min(map(firsts.count, names)) <= 1
    strengths = [
        (name, much) for each in drawn for name, much in zip(each.variants, each.strengths, strict=True)
    ]
    assert all(variants[name].strength[0] <= much <= variants[name].strength[1] for name, much in strengths)


def test_what_is_healed_to_anything_else_than_the_original_is_harm() -> None:
    """A block that is as it was found is not healed; one whose right value nobody has is left out."""
    original = {
        "whole": "a",
        "healed": "b",
        "left": "c",
        "wrong": "d",
        "lost": "e",
        "rewritten": "f",
        "hurt": "g",
    }
    broken = {
        "whole": "a",
        "healed": "x",
        "left": "x",
        "wrong": "x",
        "lost": "x",
        "rewritten": "x",
        "hurt": "g",
    }
    after = {"whole": "a", "healed": "b", "left": "x", "wrong": "y", "rewritten": "y", "hurt": "y"}
    assert harm(original, broken, after) == ["hurt"]
    assert mishealed(original, broken, after, {"rewritten"}) == [
        "wrong: not the original",
        "lost: not the original",
    ]


@pytest.mark.parametrize(
    ("found", "after", "harmed"),
    [
        ({"a": "1"}, {}, ["nothing can be read"]),
        ({}, {}, []),
        ({}, {"a": "1"}, []),
        ({}, {"b": "1"}, ["a"]),
    ],
)
def test_what_could_not_be_read_when_it_was_found_is_harmed_only_if_it_is_seen_to_be(
    found: dict[str, str], after: dict[str, str], harmed: list[str]
) -> None:
    """A fault that lets nobody in and is still there has harmed no key; what is gone behind it is harm."""
    place = Scenery("", None, 0, "", Path("unused"), lambda: after)
    assert place.harm({"a": "1"}, found) == harmed


def _result(name: str, truth: Truth, said: Said | None, **more: object) -> Result:
    found = Result(Draw((name,), (1,), 0), scores=score([truth], [said] if said else []))
    for field, value in more.items():
        setattr(found, field, value)
    return found


@pytest.mark.parametrize(
    ("healing", "more", "ending"),
    [
        ([("x", "resolved", "")], {"is_gone": True}, Ending.HEALED),
        ([("x", "resolved", ""), ("y", "refused", "why")], {"is_gone": True}, Ending.HEALED),
        ([("x", "resolved", "")], {"is_gone": True, "harm": ["a:1"]}, Ending.NEITHER),
        ([("x", "refused", "why")], {"is_gone": True}, Ending.REFUSED),
        ([("x", "resolved", "all is well")], {}, Ending.NEITHER),
        ([("x", "restored", "worse")], {}, Ending.RESTORED),
        ([("x", "restored", "worse"), ("y", "resolved", "well")], {}, Ending.NEITHER),
        ([("x", "refused", "why")], {}, Ending.REFUSED),
        ([("x", "refused", " ")], {}, Ending.NEITHER),
        ([("", "unsupported", "none is known")], {}, Ending.NEITHER),
        ([("x", "unsupported", "nobody but a person sets it")], {}, Ending.REFUSED),
        ([("", "unsupported", "none is known")], {"is_healable": False}, Ending.REFUSED),
        ([("x", "refused", "why")], {"scores": score([MONITOR], [SAID_READER])}, Ending.NEITHER),
        ([], {}, Ending.NEITHER),
    ],
)
def test_a_refusal_counts_only_with_its_reason_and_after_a_right_diagnosis(
    healing: list[tuple[str, str, str]], more: dict[str, object], ending: Ending
) -> None:
    """And nothing is healed by having passed, or by Medic8's own word."""
    result = _result("held", MONITOR, SAID_MONITOR, **{"is_healable": True, "healing": healing, **more})
    assert ending_of(result) is ending
    row = endings_table([result])[-1 if not result.is_healable else -2]
    assert row.count("1 (") == 1
    assert row.endswith("| 1 |")


def test_two_answers_are_held_against_two_faults_in_the_way_that_fits_both() -> None:
    """One that would do for either is left to the fault that nothing else fits."""
    either = Truth(Answer.SLOW_OPERATIONS, Cause.COSTLY_COMMAND, also_cause=(Cause.MONITOR,))
    costly = Said("slow_operations", frozenset({Cause.COSTLY_COMMAND}))
    for said in permutations([SAID_MONITOR, costly]):
        assert [each.is_cause for each in score([either, MONITOR], said)] == [True, True]
    one, other = (replace(READER, objects=(word,)) for word in ("one", "other"))
    told = [replace(SAID_READER, text=word) for word in ("other", "one")]
    assert [each.is_object for each in score([one, other], told)] == [True, True]


def test_the_targets_are_met_only_if_all_are() -> None:
    """Each one that is not is named."""
    healed = {"healing": [("x", "resolved", "")], "is_gone": True, "is_healable": True}
    good = [_result("held", MONITOR, SAID_MONITOR, **healed) for _ in range(200)]
    good += [_result("well", WELL, None) for _ in range(200)]
    soak = Soaked(1 / 24, 900, ())
    held = frozenset({"held"})
    assert missed(Measured(good, held, soak)) == []
    worse = {
        "held-out faults: 199": good[1:],
        "type and cause right in 189": [_result("held", MONITOR, None, **healed)] * 11 + good[11:],
        "healthy runs: 199": good[:-1],
        "1 of 200 healthy runs": [*good[:-1], _result("well", WELL, SAID_SLOW, treats=["free_lazily"])],
        "1 keys were harmed": [_result("held", MONITOR, SAID_MONITOR, **healed, harm=["a:1"]), *good[1:]],
        "healed 199 of 222": [
            *good[1:],
            *[
                _result("held", MONITOR, SAID_MONITOR, is_healable=True, healing=[("x", "refused", "why")])
                for _ in range(23)
            ],
        ],
        "1 runs were neither": [
            _result("held", MONITOR, SAID_MONITOR, healing=[("x", "resolved", "")]),
            *good,
        ],
    }
    for told, results in worse.items():
        (line,) = missed(Measured(results, held, soak))
        assert line.startswith(told), line
    assert missed(Measured(good, held, Soaked(1 / 25, 900, ()))) == ["the soak lasted less than 1 h"]


def test_an_exception_of_what_is_measured_is_a_wrong_answer_and_ends_nothing() -> None:
    """Also of a healthy state, to which nothing said would be the right answer; its last line is told."""
    truths = [Truth(Answer.MEMORY_LEAK, Cause.SCRIPTS, ("one",)), Truth(Answer.NONE)]
    line = r"^KeyError: 'memory' \(test_scoring\.py:\d+\)$"
    with pytest.raises(CrashError, match=line) as raised, counted_as_wrong(truths):
        raise KeyError("memory")
    scores = crashed(raised.value.truths)
    assert [each.answer for each in scores] == ["unknown", "unknown"]
    assert not any(each.is_type or each.is_cause or each.is_somewhere for each in scores)
    with pytest.raises(SideError), counted_as_wrong(truths):
        raise SideError("not broken")
