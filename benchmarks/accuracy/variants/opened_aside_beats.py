"""Processes that write down now and then that they are at work, and the site's check of that."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from benchmarks.accuracy.variant import ProcessSite, Site, Stage
from benchmarks.accuracy.variants.opened_aside_means import (
    by_file,
    is_alive,
    number,
    waits_for,
)

#: What a site writes as its check: has the program beaten within the last two seconds?
_CHECK = "import os,sys,time; sys.exit(time.time() - os.stat(sys.argv[1]).st_mtime > 2)"

VARIANTS = ()


def checked(stage: Stage) -> Site:
    """A site that has the check."""
    return Site(process=ProcessSite(check=(sys.executable, "-c", _CHECK, str(stage.folder / "beat"))))


def is_silent(stage: Stage) -> bool:
    """Whether it runs, and has not beaten for two seconds."""
    pid, beat = number(stage), stage.folder / "beat"
    return is_alive(pid) and waits_for(lambda: time.time() - beat.stat().st_mtime > 2.5, 8)


def beats(source: str, *words: str, by: Callable[..., str] = by_file) -> Callable[[Stage], str]:
    """A process that beats; of its further words ``{}`` is the run's folder, ``#`` its strength."""

    def prepare(stage: Stage) -> str:
        more = [word.replace("{}", str(stage.folder)).replace("#", str(stage.strength)) for word in words]
        address = by(stage, source, str(stage.folder / "beat"), *more)
        waits_for((stage.folder / "beat").exists)
        return address

    return prepare


def go(stage: Stage) -> str:
    """Have the process come to where it does not beat any more."""
    (stage.folder / "go").touch()
    is_silent(stage)
    return ""
