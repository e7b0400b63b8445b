"""How servers are backed up, as the rest of the house sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import valkey

from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.errors import ConfigurationError, RefusedError
from medic8.model.backup import BackupManifest, RestoreReport, RestoreWish, VerifyReport
from medic8.model.target import Target
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.address import redact
from medic8.targets.valkey.backup_index import packs_of_part
from medic8.targets.valkey.backup_reading import verify_backup
from medic8.targets.valkey.client import connection
from medic8.targets.valkey.dump import VALKEY, DumpOptions, create_backup
from medic8.targets.valkey.key_names import key_name
from medic8.targets.valkey.restore_keys import RestoreOptions, restore_keys

_MIB = 1 << 20


class ValkeyBackups:
    """Backups of a server's keys: see `medic8.targets.kind.Backups`."""

    def repository(self, target: Target, place: BackupPlace) -> Repository:
        """The backups of the target of that name."""
        return Repository(place, VALKEY, target.name)

    def create(
        self,
        target: Target,
        around: Surroundings,
        *,
        is_full: bool = False,
        prefix: str = "",
        names: tuple[str, ...] = (),
    ) -> BackupManifest:
        """Back the keys of the target's database up while others write to them; always in full."""
        del is_full
        rate = target.scrub_mib_per_s
        options = DumpOptions(
            names=tuple(map(key_name, names)),
            prefix=key_name(prefix),
            prefix_text=prefix,
            limit_bytes_per_s=None if rate is None else rate * _MIB,
            on_progress=around.progress,
        )
        with _connected(target) as client:
            return create_backup(
                client, self.repository(target, around.backups), now=around.now, options=options
            )

    def verify(self, target: Target, around: Surroundings, backup: BackupManifest) -> VerifyReport:
        """Read all keys of a backup again; take every value apart and compare its digest."""
        return verify_backup(self.repository(target, around.backups), backup, around.progress)

    def restore(
        self, target: Target, around: Surroundings, backup: BackupManifest, wish: RestoreWish
    ) -> RestoreReport:
        """Write keys of a backup into the target's database."""
        if wish.blocks or wish.into:
            raise RefusedError(f"target {target.name} is a server, which has keys and no blocks")
        options = RestoreOptions(
            names=tuple(map(key_name, wish.names)),
            prefix=key_name(wish.prefix),
            overwrites=wish.overwrite,
            on_progress=around.progress,
        )
        with _connected(target) as client:
            return restore_keys(client, self.repository(target, around.backups), backup, options)

    def packs_of_part(self, number: int, body: bytes) -> frozenset[str]:
        """The packs that a part of a backup's index needs."""
        return packs_of_part(number, body)


@contextmanager
def _connected(target: Target) -> Iterator[valkey.Valkey]:
    with connection(target.address, timeout_s=target.timeout_s) as client:
        given = client.connection_pool.connection_kwargs
        if given.get("decode_responses") or str(given.get("protocol", 2)) != "2":
            raise ConfigurationError(
                f"{redact(target.address)}: a backup reads bytes as the server has them; take "
                "decode_responses and protocol out of the target's address"
            )
        yield client
