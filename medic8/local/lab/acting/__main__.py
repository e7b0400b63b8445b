"""Act what standard input orders: say when it is there, then go on until the time or the server is gone."""

from __future__ import annotations

import os
import resource
import signal
import sys
from types import FrameType

import valkey.exceptions

from medic8.errors import Medic8Error
from medic8.local.lab.acting.acts import ACTS
from medic8.local.lab.acting.order import Order, Ready

_MOST_BYTES = 2 << 30
_LAST_WORDS_S = 30


def main() -> None:
    """Act, or answer why not."""
    line = sys.stdin.readline()
    if not line:
        return  # whoever started us died before we were on record
    order = Order.model_validate_json(line)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, _end)
    signal.alarm(order.lasts_s)
    play = ACTS[order.act](order)
    try:
        ready = next(play)
    except (Medic8Error, valkey.exceptions.ValkeyError, OSError) as exc:
        _say(Ready(refused=f"{type(exc).__name__}: {exc}"))
        return
    _say(ready)
    try:
        for _ in play:
            pass
    except (Medic8Error, valkey.exceptions.ConnectionError, valkey.exceptions.TimeoutError, OSError):
        return  # the server is gone, or has closed our connection: that is how it ends
    finally:
        play.close()


def _say(ready: Ready) -> None:
    os.write(1, ready.model_dump_json().encode() + b"\n")
    # Nobody listens from here on; a broken pipe would end the play.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


def _end(_number: int, _frame: FrameType | None) -> None:
    """End in order, and at once if that takes too long."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_LAST_WORDS_S)
    raise SystemExit


if __name__ == "__main__":
    main()
