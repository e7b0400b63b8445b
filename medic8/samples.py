"""
Samples of targets over months, in one small file for each target.

Thinned out by age: of the last day one for every five minutes, of two weeks one for every hour, of a year one
for every day; older ones go. That is some 1,000 at most, whoever diagnoses how often.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from medic8.durable import make_folder, replacing
from medic8.model.sample import Sample

#: Up to which age one sample is kept for each slot of which length; the youngest first.
_KEPT = (
    (timedelta(days=1), timedelta(minutes=5)),
    (timedelta(days=14), timedelta(hours=1)),
    (timedelta(days=366), timedelta(days=1)),
)


@dataclass(frozen=True)
class SampleStore:
    """
    Where samples of all targets are kept.

    Attributes:
        folder: Made when the first is added; readable for its owner only, since names of keys are in it.
    """

    folder: Path

    def read(self, target: str) -> tuple[Sample, ...]:
        """All samples of *target*, the oldest first; lines that make no sense are left out."""
        try:
            lines = self._file(target).read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return ()
        found = []
        for line in lines:
            with contextlib.suppress(ValidationError):
                found.append(Sample.model_validate_json(line))
        return tuple(sorted(found, key=lambda each: each.at))

    def add(self, target: str, sample: Sample) -> tuple[Sample, ...]:
        """
        Keep *sample*, and drop what is too old or too close to others; all that are kept.

        Of two processes that add at the same moment one may lose its sample, which is no harm.

        Raises:
            OSError: it cannot be written.
        """
        kept = thinned((*self.read(target), sample), sample.at)
        make_folder(self.folder)
        with replacing(self._file(target), outlasts_power=False) as file:
            file.writelines(f"{each.model_dump_json()}\n".encode() for each in kept)
        return kept

    def _file(self, target: str) -> Path:
        return self.folder / f"{target}.jsonl"


def thinned(samples: Iterable[Sample], now: datetime) -> tuple[Sample, ...]:
    """The newest sample of each slot of its age, the oldest first; none from after *now*."""
    kept: dict[tuple[int, int], Sample] = {}
    for each in sorted(samples, key=lambda each: each.at):
        age = now - each.at
        step = next((step for limit, step in _KEPT if timedelta(0) <= age < limit), None)
        if step is not None:
            kept[int(step.total_seconds()), int(each.at.timestamp() // step.total_seconds())] = each
    return tuple(sorted(kept.values(), key=lambda each: each.at))
