"""What scenes have in common whose target is on this host: files that others write, and claims in files."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from pathlib import Path

from medic8.model.plan import Plan
from medic8.model.target import Target
from tests.crash.reader import Ended, Verdict, problems_of_claims
from tests.crash.scenes import Written


class FolderScene:
    """A folder with files that others write, and with the claims; see `tests.crash.scenes.Scene`."""

    exact_before = False
    target: Target
    plan: Plan

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "others").mkdir(parents=True, exist_ok=True)

    def stage(self) -> None:
        """Remove what others wrote, and claims that a death left."""
        for folder in ("others", "claims"):
            for file in (self.folder / folder).glob("*"):
                file.unlink()

    def wander(self, rng: random.Random) -> Written:
        """A file."""
        name, value = f"other{rng.randrange(8)}", rng.randbytes(16).hex()
        (self.folder / "others" / name).write_text(value)
        return {f"file {name}": value}

    def judge(self, ended: Ended | None, written: Written) -> Verdict:
        """What others wrote is there, and no claim of nobody's."""
        verdict = Verdict("not_opened" if ended is None else ended.state)
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        claims = [json.loads(file.read_text()) for file in (self.folder / "claims").glob("*.claim")]
        for each in claims:
            content, left_ms = each["content"].encode(), int((each["lapses_at_s"] - now_s) * 1000)
            is_claimed, problem = problems_of_claims([(content, left_ms)], ended)
            verdict.is_claimed |= is_claimed
            verdict.wrong += [problem] if problem else []
        verdict.lost = [
            place
            for place, value in written.items()
            if place.startswith("file ")
            and (self.folder / "others" / place.removeprefix("file ")).read_text() != value
        ]
        return verdict

    def contents(self) -> Mapping[str, bytes]:
        """All files of others."""
        return {file.name: file.read_bytes() for file in (self.folder / "others").glob("*")}
