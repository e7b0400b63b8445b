"""Limits that are reached, and files that cannot be written."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import valkey

from benchmarks.accuracy.variant import Answer, Cause, Site, Stage, Truth, Variant
from benchmarks.accuracy.variants.field_parts import ask, program, wait_until

IMPORT = """
client = connect(word)
client.config_set("maxmemory", client.info("memory")["used_memory"] + strength * 2**20)
def load():
    fields = {"t": "t" * 90, "b": "b" * rng.randint(500, 2500)}
    client.hset(f"{prefix}:article:{rng.getrandbits(64):x}", mapping=fields)
def until_refused():
    try:
        while True:
            load()
    except valkey.ResponseError:
        pass
until_refused()
forever(until_refused, 0.1)
"""

POOL = """
client = connect()
client.config_set("maxclients", strength)
held = []
def borrow():  # a request's error path never gives its connection back; a deploy frees some
    try:
        while True:
            one = valkey.Valkey.from_url(url, client_name=f"{word}-web", single_connection_client=True)
            one.ping()
            held.append(one)
    except (valkey.ValkeyError, OSError):
        pass
    for _ in range(4):
        held.pop(0).close()
    time.sleep(0.5)
borrow()
forever(borrow, 0)
"""

CROWD = """
held = []
for number in range(strength):
    held.append(raw())
    if number % 3 == 0:
        held[-1].sendall(f"CLIENT SETNAME {word}-fn\\r\\n".encode())
    else:
        held[-1].sendall(f"GET {prefix}:flag\\r\\n".encode())
for each in held:
    each.recv(100)
print("there", flush=True)
time.sleep(3600)
"""

GONE = """
connect().config_set("tcp-keepalive", 0)
for number in range(strength):
    way = socket.create_connection((host, int(port)))
    way.sendall(f"CLIENT SETNAME {word}-vm\\r\\nBLPOP {prefix}:work:{number} 0\\r\\n".encode())
    way.recv(5)
    way.setsockopt(socket.IPPROTO_TCP, 19, 1)  # TCP_REPAIR: the machine is gone, and says nothing
    way.close()
print("there", flush=True)
time.sleep(3600)
"""


def _truth_memory(_: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.MEMORY_LIMIT)


def _refuses(stage: Stage) -> bool:
    client = ask(stage)

    def refused() -> bool:
        try:
            client.set(f"{stage.prefix}:probe", "x" * 3000)
        except valkey.OutOfMemoryError:
            return True
        return False

    return wait_until(refused, 3)


def _break_unit(stage: Stage) -> str:
    """Write ``mb`` where ``gb`` was meant, on a server that holds more already."""
    client = ask(stage)
    for each in range(stage.strength * 10):
        client.set(f"{stage.prefix}:picture:{each}", "p" * 100_000)
    client.config_set("maxmemory", f"{max(1, stage.strength // 2)}mb")
    return ""


def _range_memory(_: Stage) -> Site:
    return Site(setting=(("maxmemory", 2**30, None),))


def _truth_unit(_: Stage) -> Truth:
    also = (Cause.MEMORY_LIMIT,)
    objects = ("maxmemory",)
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.SETTING, objects=objects, also_cause=also, healable=True)


def _truth_pool(_: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.MANY_CLIENTS, also_cause=(Cause.IDLE_CLIENTS,))


def _pool_there(stage: Stage) -> bool:
    try:
        client = ask(stage)
        most = int(client.config_get("maxclients")["maxclients"])
        return int(client.info("clients")["connected_clients"]) > most - 12
    except valkey.ConnectionError as error:
        return "max number of clients" in str(error)


def _truth_crowd(_: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.IDLE_CLIENTS,
        also_answer=(Answer.MEMORY_LEAK,),
        also_cause=(Cause.MANY_CLIENTS,),
        healable=True,
    )


def _crowd_there(stage: Stage) -> bool:
    listed = ask(stage).client_list()
    return sum(each["name"] == f"{stage.word}-fn" for each in listed) > 50


def _truth_gone(stage: Stage) -> Truth:
    return Truth(
        Answer.RESOURCE_EXHAUSTION,
        Cause.DEAD_CLIENTS,
        objects=(f"{stage.word}-vm",),
        also_answer=(Answer.NETWORK, Answer.MEMORY_LEAK),
        also_cause=(Cause.IDLE_CLIENTS,),
        healable=True,
    )


def _gone_there(stage: Stage) -> bool:
    return any(each["name"] == f"{stage.word}-vm" for each in ask(stage).client_list())


def _break_few_clients(stage: Stage) -> str:
    ask(stage).config_set("maxclients", stage.strength)
    return ""


def _range_clients(_: Stage) -> Site:
    return Site(setting=(("maxclients", 2000, None),))


def _truth_few_clients(_: Stage) -> Truth:
    also = (Cause.MANY_CLIENTS,)
    objects = ("maxclients",)
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.SETTING, objects=objects, also_cause=also, healable=True)


def _few_clients_there(stage: Stage) -> bool:
    return int(ask(stage).config_get("maxclients")["maxclients"]) < 2000


def _truth_save(_: Stage) -> Truth:
    return Truth(Answer.RESOURCE_EXHAUSTION, Cause.SAVE_FAILS)


def _save_failed(stage: Stage) -> bool:
    return bool(ask(stage).info("persistence")["rdb_last_bgsave_status"] == "err")


def _break_mount(stage: Stage) -> str:
    """A container's mount of one file that was not there: the runtime has made a folder of that name."""
    client = ask(stage)
    place = Path(client.config_get("dir")["dir"]) / client.config_get("dbfilename")["dbfilename"]
    place.unlink(missing_ok=True)
    place.mkdir()
    stage.cleanup.callback(shutil.rmtree, place, ignore_errors=True)
    client.config_set("save", f"{stage.strength} 1")
    client.set(f"{stage.prefix}:order", "o")
    client.bgsave()
    wait_until(lambda: _save_failed(stage))
    return ""


def _break_quota(stage: Stage) -> str:
    """A file may not be larger than a limit of the service (``LimitFSIZE``); the data has outgrown it."""
    client = ask(stage)
    for each in range(stage.strength * 60):
        client.set(f"{stage.prefix}:report:{each}", stage.rng.randbytes(20_000))
    before = resource.prlimit(stage.server_pid, resource.RLIMIT_FSIZE)
    resource.prlimit(stage.server_pid, resource.RLIMIT_FSIZE, (stage.strength * 10**6, before[1]))
    client.config_set("stop-writes-on-bgsave-error", "no")
    client.config_set("save", "5 100 60 1")
    client.bgsave()
    wait_until(lambda: _save_failed(stage))
    return ""


_KIND = "valkey"

VARIANTS = (
    Variant("field_import_meets_limit", _KIND, (4, 40), _truth_memory, program(IMPORT), _refuses, alone=True),
    Variant(
        "field_limit_in_wrong_unit",
        _KIND,
        (8, 40),
        _truth_unit,
        _break_unit,
        _refuses,
        site=_range_memory,
        alone=True,
    ),
    Variant(
        "field_pool_never_returns", _KIND, (90, 400), _truth_pool, program(POOL), _pool_there, alone=True
    ),
    Variant("field_functions_stay_connected", _KIND, (200, 700), _truth_crowd, program(CROWD), _crowd_there),
    Variant("field_machine_vanished", _KIND, (20, 150), _truth_gone, program(GONE), _gone_there),
    Variant(
        "field_clients_limit_typo",
        _KIND,
        (64, 512),
        _truth_few_clients,
        _break_few_clients,
        _few_clients_there,
        site=_range_clients,
    ),
    Variant(
        "field_mount_made_a_folder", _KIND, (30, 900), _truth_save, _break_mount, _save_failed, alone=True
    ),
    Variant("field_file_size_limit", _KIND, (2, 20), _truth_save, _break_quota, _save_failed),
)
