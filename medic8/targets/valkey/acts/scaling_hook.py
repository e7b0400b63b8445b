"""Ask the site's own command or service for more, and say what its answer means."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from medic8.model.target import Scale
from medic8.model.wording import shown

#: The exit status by which a command says that it has changed nothing.
REFUSES = 2

_MOST_SHOWN = 300


class Answer(StrEnum):
    """What is known of the world after somebody was asked."""

    DONE = "done"  #: it says that it was done, or is under way
    REFUSED = "refused"  #: it says that nothing was changed, or was never reached
    UNKNOWN = "unknown"  #: anything else


class Answered(NamedTuple):
    """An answer, and what was said, fit to be shown."""

    answer: Answer
    said: str


def ask(hook: Scale, about: Mapping[str, str], *, is_trial: bool) -> Answered:
    """
    Ask once, and wait for the answer.

    Args:
        hook: Whom.
        about: What for, by lower-case name.
        is_trial: Nothing is to be changed.
    """
    if hook.url is not None:
        return _post(hook, about, is_trial=is_trial)
    return _run(hook.dry_run if is_trial else hook.command, hook.timeout_s, about, is_trial=is_trial)


def _run(words: tuple[str, ...], timeout_s: float, about: Mapping[str, str], *, is_trial: bool) -> Answered:
    told = {f"MEDIC8_{name.upper()}": value for name, value in about.items()}
    try:
        child = subprocess.Popen(  # noqa: S603 - the site's own command, without a shell
            words,
            env={**os.environ, **told, "MEDIC8_DRY_RUN": "1" if is_trial else "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        return Answered(Answer.REFUSED, f"it could not be started: {shown(str(exc), _MOST_SHOWN)}")
    try:
        output, _ = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return Answered(Answer.UNKNOWN, f"it was ended after {timeout_s:g} s")
    meaning = {0: Answer.DONE, REFUSES: Answer.REFUSED}.get(child.returncode, Answer.UNKNOWN)
    last = (output.strip().splitlines() or [b""])[-1]
    return Answered(meaning, f"exit status {child.returncode}: {shown(last, _MOST_SHOWN)}")


def _post(hook: Scale, about: Mapping[str, str], *, is_trial: bool) -> Answered:
    url = hook.url.get_secret_value() if hook.url else ""
    import httpx  # noqa: PLC0415  # costs whoever completes a word at the tab key a tenth of a second

    try:
        answer = httpx.post(url, json={**about, "dry_run": is_trial}, timeout=hook.timeout_s)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as exc:
        return Answered(Answer.REFUSED, f"it was not reached: {type(exc).__name__}")
    except httpx.HTTPError as exc:
        return Answered(Answer.UNKNOWN, f"no answer: {type(exc).__name__}")
    meaning = (
        Answer.DONE if answer.is_success else Answer.REFUSED if answer.is_client_error else Answer.UNKNOWN
    )
    return Answered(meaning, f"HTTP {answer.status_code}: {shown(answer.content, _MOST_SHOWN)}")
