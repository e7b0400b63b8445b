"""Notice that Prefect's server is gone, and wait for it no longer than once."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

import httpx
from prefect.settings import PREFECT_API_URL, get_current_settings

#: How long a server may be away before nobody waits for it any more; a restart of one takes less.
_PATIENCE_S = 10.0

_LOOK_AGAIN_S = 1.0
_ANSWER_S = 5.0


@contextlib.contextmanager
def waiting_once() -> Iterator[None]:
    """
    Let requests to Prefect's API fail at once after its server has been away for a while.

    Its client tries each request several times, and every flow that is under
    way, and every one around it, makes several as it ends: each would wait
    anew for a server that is gone, for minutes in sum.
    """
    url = PREFECT_API_URL.value()
    if not url:
        yield
        return
    is_over = threading.Event()
    # Those that are in force inside of the block: flows read them anew for each attempt.
    client = get_current_settings().client
    tries = client.max_retries

    def watch() -> None:
        if not _answers(url):
            return  # one that only a request with more than ours reaches
        answered_s = time.monotonic()
        while not is_over.wait(_LOOK_AGAIN_S):
            logging.raiseExceptions = is_heard = _answers(
                url
            )  # else each line for the server is one to stderr
            if is_heard:
                answered_s = time.monotonic()
                client.max_retries = tries
            elif time.monotonic() - answered_s > _PATIENCE_S:
                client.max_retries = 0

    thread = threading.Thread(target=watch, name="medic8-prefect", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(_ANSWER_S)


def _answers(url: str) -> bool:
    """Whether anything answers there, whatever it says; nothing of ours is sent, so anybody may answer."""
    try:
        httpx.get(f"{url}/health", timeout=_ANSWER_S, verify=False)  # noqa: S501
    except (httpx.HTTPError, OSError):
        return False
    return True
