"""The measurement itself, on real servers, and the independence of who judges."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.accuracy.catalogue import catalogue
from benchmarks.accuracy.drawing import Draw
from benchmarks.accuracy.renaming import renamed
from benchmarks.accuracy.running import run
from benchmarks.accuracy.variants.lab import LEFT_OUT
from medic8.local.programs import find_valkey

ROOT = Path(__file__).resolve().parents[2]

INDEPENDENT = (
    "benchmarks.accuracy.oracle",
    "benchmarks.accuracy.neighbour",
    "benchmarks.accuracy.variant",
    "benchmarks.accuracy.scoring",
)


def test_who_judges_imports_nothing_of_medic8() -> None:
    """Neither the oracle nor the scores, by whatever way."""
    program = (
        f"import sys, {', '.join(INDEPENDENT)}; print([each for each in sys.modules if 'medic8' in each])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_side_that_breaks_gives_the_labs_things_other_names_in_each_run(tmp_path: Path) -> None:
    """Keys, clients and programs: what is diagnosed cannot be known by its name."""
    names = []
    for seed in (1, 2):
        code = tmp_path / str(seed)
        renamed(ROOT, code, random.Random(seed))
        lab = [each.read_text() for each in (code / "medic8/local/lab").rglob("*.py")]
        assert not any("medic8-lab-" in text or '"lab-' in text for text in lab)
        names.append(re.findall(r'^PREFIX = "(\w+)-"$', "\n".join(lab), re.MULTILINE))
        assert (code / "medic8/targets").resolve() == ROOT / "medic8/targets"
    assert len({*names[0], *names[1]}) == 2


def test_every_fault_and_state_of_the_lab_is_a_variant_or_said_not_to_be() -> None:
    """What is left out is named here, and why in docs/accuracy.md."""
    from medic8.local.lab.faults import FAULTS
    from medic8.local.lab.states import STATES

    known = {each.removeprefix("lab.") for each in catalogue()[0] if each.startswith("lab.")}
    assert {*FAULTS, *STATES} - known == LEFT_OUT


def test_a_fault_and_a_healthy_state_are_run_scored_and_gone(
    require: Callable[[Callable[[], object]], None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The lab in another process, a look, and the author's truth held against it."""
    require(lambda: find_valkey(tmp_path_factory.mktemp("programs"), None))
    sick, well = (
        run(Draw((name,), (much,), 5))
        for name, much in (("lab.slow_reader", 24), ("lab.waiting_clients", 10))
    )
    assert (sick.error, well.error) == ("", "")
    assert [(each.truth, each.is_type, each.is_cause) for each in sick.scores] == [
        ("memory_leak", True, True)
    ]
    assert sick.detect_s is not None
    assert [(each.truth, each.answer) for each in well.scores] == [("none", "none")], well.said
    assert well.treats == []


@pytest.mark.parametrize(
    ("name", "strength", "told"),
    [
        ("lab.zombies", 12, ("resource_exhaustion", "zombies")),
        ("lab.endpoint_other_name", 1, ("network", "unreachable")),
        ("lab.full_queue", 40, ("network", "accept_queue")),
    ],
)
def test_a_fault_beside_a_server_is_run_and_scored(name: str, strength: int, told: tuple[str, str]) -> None:
    """Of a process, an endpoint and the host, each with the site that its author gave it."""
    result = run(Draw((name,), (strength,), 5), watch_s=0.0)
    if name == "lab.full_queue" and "the host had it before" in result.error:
        pytest.skip(result.error)  # another test fills a queue on this very host
    assert result.error == ""
    assert [(each.answer, each.is_cause) for each in result.scores] == [(told[0], True)], result.said
    assert told[1] in result.said[0]


def test_a_fault_that_is_not_there_is_not_counted() -> None:
    """Nobody is scored for what was not broken."""
    result = run(Draw(("lab.big_key",), (0,), 5))
    assert result.error
    assert result.scores == []
