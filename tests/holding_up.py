"""Commands that hold a server up: large deletions, and scripts that never end."""

from __future__ import annotations

import time

import valkey
import valkey.exceptions

_PATIENCE_S = 60.0

#: Makes a set of which freeing takes a server some tenths of a second.
_LARGE = """
for i = ARGV[1], ARGV[1] + 19999, 4000 do
  local some = {}
  for j = 0, 3999 do some[j + 1] = 'member:' .. (i + j) end
  redis.call('SADD', KEYS[1], unpack(some))
end
"""


def delete_large(client: valkey.Valkey) -> float:
    """Make a large key and delete it; the seconds that deleting took."""
    for first in range(0, 1_500_000, 20_000):  # by parts: on a busy machine the whole takes many seconds
        client.eval(_LARGE, 1, "large", first)
    client.slowlog_reset()  # making it is not what is slow here
    began_s = time.perf_counter()
    client.delete("large")
    return time.perf_counter() - began_s


#: Never ends; with ``1`` it has written something before.
ENDLESS = b"if ARGV[1] == '1' then redis.call('SET', KEYS[1], 'x') end while true do end"
LIBRARY = (
    f"#!lua name=medic8test\nserver.register_function('endless', function(KEYS, ARGV) {ENDLESS.decode()} end)"
)


def is_busy(client: valkey.Valkey) -> bool:
    """Whether a script keeps the server from answering."""
    try:
        client.ping()
    except valkey.exceptions.ResponseError:
        return True
    return False


def wait_until_busy(client: valkey.Valkey) -> None:
    """Return when a script that was begun keeps the server from answering."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not is_busy(client):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def end_script(client: valkey.Valkey) -> bool:
    """Have the server end a script, and return when it answers; whether one ran."""
    try:
        client.execute_command("SCRIPT", "KILL")
    except valkey.exceptions.ResponseError:
        return False
    deadline_s = time.monotonic() + _PATIENCE_S
    while is_busy(client):
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    return True
