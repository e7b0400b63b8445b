"""Measure; the last line is a summary, and the exit status is 0 only if the targets are met."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.accuracy.catalogue import catalogue
from benchmarks.accuracy.drawing import Draw, draws
from benchmarks.accuracy.healing import prefect_in
from benchmarks.accuracy.running import Result
from benchmarks.accuracy.telling import Measured, last_line, missed, tables
from benchmarks.accuracy.together import make, soak_at_once
from benchmarks.accuracy.variant import Variant

_FULL = {"held": 200, "tuned": 200, "healthy": 200, "heal": 100, "soak_s": 3600.0}
_SAMPLE = {"held": 6, "tuned": 8, "healthy": 6, "heal": 2, "soak_s": 20.0}


def main() -> int:
    """Run everything that was asked for."""
    args = _arguments()
    variants, held = catalogue()
    print(f"seed {args.seed}; {platform.machine()}, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}")
    if args.repeat:
        chosen = json.loads(args.repeat)
        plans = [(Draw(tuple(chosen["variants"]), tuple(chosen["strengths"]), chosen["seed"]), args.heal > 0)]
    else:
        plans = _drawn(args, variants, held)
    results, began_s = list[Result](), time.monotonic()
    with ExitStack() as around:
        if any(heals for _, heals in plans):
            folder = around.enter_context(tempfile.TemporaryDirectory(prefix="accuracy-prefect-"))
            around.enter_context(prefect_in(Path(folder)))
        made = make(plans, jobs=args.jobs, most_s=args.most_s, is_shared=_is_shared(variants))
        for number, result in enumerate(made, start=1):
            results.append(result)
            _tell(result, f"{number}/{len(plans)} {time.monotonic() - began_s:.0f} s")
            if args.json:
                args.json.write_text(json.dumps([each.as_json() for each in results], indent=1))
        if len(results) < len(plans):
            print(f"stopped after {args.most_s:g} s: {len(plans) - len(results)} runs were not made")
        soaked = None
        if args.soak_s and not args.repeat:
            soaked = soak_at_once(args.jobs, args.soak_s, args.seed, _states(args, variants, held))
    measured = Measured(results, held, soaked)
    print("\n".join(tables(measured)))
    not_met = missed(measured)
    print(last_line(measured, not_met, seed=args.seed))
    return bool(not_met)


def _is_shared(variants: dict[str, Variant]) -> Callable[[Draw], bool]:
    """Of a host, which all runs are made on."""
    return lambda draw: any(variants[name].kind == "host" for name in draw.variants)


def _drawn_from(
    args: argparse.Namespace, variants: dict[str, Variant], held: frozenset[str]
) -> dict[str, Variant]:
    """Who tunes makes no held-out run, not even of a healthy state."""
    return {
        name: each for name, each in variants.items() if args.only in name and (args.held or name not in held)
    }


def _states(args: argparse.Namespace, variants: dict[str, Variant], held: frozenset[str]) -> list[Draw]:
    """Every healthy state, for the soak; one drawn strength of each."""
    well = [name for name, each in _drawn_from(args, variants, held).items() if each.is_healthy]
    return draws(variants, well, len(well), random.Random(args.seed))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="a few runs, for CI and for trying")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    for name in ("held", "tuned", "healthy", "heal"):
        parser.add_argument(f"--{name}", type=int, help=f"how many {name} runs")
    parser.add_argument("--soak-s", type=float, help="how long healthy targets are looked at, by each job")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="so many runs at once; as many as processors"
    )
    parser.add_argument(
        "--most-s", type=float, default=0.0, help="draw no run after so many seconds; 0 = no end"
    )
    parser.add_argument("--only", default="", help="variants whose names hold this")
    parser.add_argument(
        "--repeat", default="", help="one run, as its line of JSON says: variants, strengths, seed"
    )
    parser.add_argument("--json", type=Path, help="where every run is written, as it comes")
    args = parser.parse_args()
    for name, value in (_SAMPLE if args.sample else _FULL).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return args


def _drawn(
    args: argparse.Namespace, variants: dict[str, Variant], held: frozenset[str]
) -> list[tuple[Draw, bool]]:
    """Every run and whether it is healed, in random order."""
    rng = random.Random(args.seed)
    known = _drawn_from(args, variants, held)
    sick = [name for name, each in known.items() if not each.is_healthy]
    well = [name for name, each in known.items() if each.is_healthy]
    faulty = [
        *draws(variants, [each for each in sick if each in held], args.held, rng),
        *draws(variants, [each for each in sick if each not in held], args.tuned, rng),
    ]
    healed = set(rng.sample(range(len(faulty)), min(args.heal, len(faulty))))
    plans = [(draw, number in healed) for number, draw in enumerate(faulty)]
    plans += [(draw, False) for draw in draws(variants, well, args.healthy, rng)]
    return rng.sample(plans, len(plans))


def _tell(result: Result, where: str) -> None:
    draw = result.draw
    seed = json.dumps({"variants": draw.variants, "strengths": draw.strengths, "seed": draw.seed})
    if result.error:
        told = f"not counted: {result.error}"
    elif all(each.is_cause for each in result.scores):
        told = "right"
    else:
        told = f"WRONG: {'; '.join(result.said) or 'nothing was said'}"
    if result.healing is not None:
        told += f" | {'gone' if result.is_gone else 'still there'} after {result.healing}"
    if result.harm:
        told += f" | HARM {result.harm[:5]}"
    print(f"{where} {seed} {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
