"""
Steps of a DBOS workflow that give keys an expiry, for `bench_steps_beside`; run by DBOS's own Python.

``dbos_steps.py DATABASE-URL PORT``: for each number on its standard input a workflow with so many steps, and
how many seconds it took, and how many of the processor, on its standard output.
"""

from __future__ import annotations

import socket
import sys
import time

from dbos import DBOS, DBOSConfig  # type: ignore[import-not-found]


def main() -> None:
    """Answer numbers until there are no more."""
    url, port = sys.argv[1:]
    server = socket.create_connection(("127.0.0.1", int(port)))
    config: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
    DBOS(config=config)

    @DBOS.step()  # type: ignore[untyped-decorator]
    def change(number: int) -> int:
        server.sendall(f"EXPIRE k:{number} 3600\r\n".encode())
        assert server.recv(64) == b":1\r\n"
        return number

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    def changes(count: int) -> int:
        for number in range(count):
            change(number)
        return count

    DBOS.launch()
    print("ready", flush=True)
    for line in sys.stdin:
        began_s, used_s = time.perf_counter(), time.process_time()
        changes(int(line))
        print(time.perf_counter() - began_s, time.process_time() - used_s, flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
