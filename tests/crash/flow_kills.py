"""
A real ``medic8 heal`` that is killed at one of its writes: ``python tests/crash/flow_kills.py NUMBER PHASE``.

NUMBER -1 kills nothing and prints how many writes there were, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from medic8.settings import load_settings
from tests.crash.killing import Phase, Strike, Watch, install


def main() -> None:
    """Watch this process, and heal the target ``server`` in it."""
    number, phase = int(sys.argv[1]), Phase(sys.argv[2])
    from flows.run import run

    watch = Watch(Path(load_settings().saved_state), None if number < 0 else Strike(number, phase))
    install(watch)
    run("heal", target="server")
    sys.stdout.write(json.dumps([(write.what, write.detail) for write in watch.writes]) + "\n")


if __name__ == "__main__":
    main()
