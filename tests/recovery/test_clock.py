"""The wall clock jumps by hours in mid-recovery: nothing changes but the times that are shown."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medic8.local.scratch import scratch_valkey
from medic8.targets.valkey.client import connection, setting

#: Shifts the wall clock of a process, and no other of its clocks, by the seconds that stand in a file.
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    static int file = -1;
    char text[32] = "";
    if (file < 0) file = open(getenv("CLOCK_SHIFT"), O_RDONLY);
    if (file < 0 || pread(file, text, sizeof text - 1, 0) < 1) return 0;
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, at);
    if (clock == CLOCK_REALTIME) at->tv_sec += shift();
    return answer;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""

#: A recovery whose clock jumps before each thing that it does; the server is killed and back before its end.
RECOVERY = """
import json, os, sys, time
from pathlib import Path
from medic8.owner import is_interrupted, this_process
from medic8.recovery import contract, undo
from medic8.recovery.journal import Journal
from medic8.recovery.lease import Lease
from medic8.targets.valkey.claim import CLAIM_KEY
from medic8.targets.valkey.client import connection
from tests.recovery.outage import now, plan_settings, server_on
from tests.recovery.test_outages import Run

url, folder = sys.argv[1], Path(sys.argv[2])
journal = Journal(f"sqlite:///{folder}/journal.sqlite")
seen = []

def jump(hours):
    Path(os.environ["CLOCK_SHIFT"]).write_text(f"{hours * 3600:<12}")
    with connection(url) as client:
        lasts_ms = client.pttl(CLAIM_KEY)
    interrupted = [is_interrupted(each) for each in journal.holding()]
    seen.append((round((time.time() - began_s) / 3600), lasts_ms, interrupted))

began_s = time.time()
run = Run(journal, server_on(url), plan_settings(("hz", "10", "20"), ("hz", "20", "30")), folder)
with Lease(journal, run.recovery).kept():
    jump(5)
    run.apply(0)
    jump(-7)
    jump(3)
    print("applied", flush=True)
    sys.stdin.readline()
    jump(-9)
    ended = run.end()
print(json.dumps([seen, ended.state, ended.left, [step.state for step in ended.steps]]), flush=True)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Get an environment in which the wall clock is shifted by what stands in ``$CLOCK_SHIFT``."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a C compiler is missing")
    (tmp_path / "shim.c").write_text(SHIM)
    library = tmp_path / "shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "shim.c"), "-ldl"], check=True
    )
    (tmp_path / "shift").write_text("0")
    root = str(Path(__file__).parents[2])
    return {
        **os.environ,
        "LD_PRELOAD": str(library),
        "CLOCK_SHIFT": str(tmp_path / "shift"),
        "PYTHONPATH": root,
    }


@pytest.mark.parametrize("restarts", [False, True])
def test_a_wall_clock_that_jumps_by_hours_changes_nothing_but_the_times_shown(
    tmp_path: Path, environment: dict[str, str], restarts: bool
) -> None:
    """The lease goes by the clock since the boot, the claim by the server's, a restart by its uptime."""
    with scratch_valkey(tmp_path) as server:
        child = subprocess.Popen(
            [sys.executable, "-c", RECOVERY, server.url, str(tmp_path)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stdout.readline() == "applied\n"
            with connection(server.url) as client:
                assert setting(client, "hz") == "20"
            if restarts:
                server.kill()
                server.start()
            child.stdin.write("go on\n")
            child.stdin.flush()
            seen, state, left, states = json.loads(child.stdout.readline())
        finally:
            child.kill()
            child.communicate()
        with connection(server.url) as client:
            assert setting(client, "hz") == "10"
    assert [hours for hours, _, _ in seen] == [5, -7, 3, -9]
    assert all(0 < lasts_ms <= 120_000 for _, lasts_ms, _ in seen[:3])
    assert [interrupted for _, _, interrupted in seen] == [[False]] * 4
    assert (state, left, states) == ("restored", [], ["undone", "planned"])
