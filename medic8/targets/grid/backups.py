"""How grids are backed up, as the rest of the house sees it."""

from __future__ import annotations

from medic8.backups.errors import NothingThereError
from medic8.backups.place import BackupPlace
from medic8.backups.repository import Repository
from medic8.errors import RefusedError
from medic8.model.backup import BackupManifest, RestoreReport, RestoreWish, VerifyReport
from medic8.model.target import Target
from medic8.targets.grid.backup import BackupOptions, create_backup
from medic8.targets.grid.backup_reading import grid_repository, verify_backup
from medic8.targets.grid.backup_table import packs_of_part
from medic8.targets.grid.errors import NotAGridError
from medic8.targets.grid.keys import manifest_keys
from medic8.targets.grid.restore import RestoreOptions, restore_grid, restore_into_new
from medic8.targets.kind import Surroundings
from medic8.targets.valkey.client import connection

_MIB = 1 << 20


class GridBackups:
    """Backups of grids: see `medic8.targets.kind.Backups`."""

    def repository(self, target: Target, place: BackupPlace) -> Repository:
        """The backups of all grids of that name."""
        return grid_repository(place, target.grid_name)

    def create(
        self,
        target: Target,
        around: Surroundings,
        *,
        is_full: bool = False,
        prefix: str = "",
        names: tuple[str, ...] = (),
    ) -> BackupManifest:
        """Back a grid up while others write to it."""
        if prefix or names:
            raise RefusedError(f"target {target.name} is a grid, which has blocks and no keys")
        rate = target.scrub_mib_per_s
        options = BackupOptions(
            limit_bytes_per_s=None if rate is None else rate * _MIB,
            on_progress=around.progress,
            is_full=is_full,
        )
        with connection(target.address, timeout_s=target.timeout_s) as client:
            repository = self.repository(target, around.backups)
            try:
                return create_backup(client, target.grid_name, repository, now=around.now, options=options)
            except NotAGridError as exc:
                if client.exists(*manifest_keys(target.grid_name)):
                    raise
                raise NothingThereError(str(exc)) from exc

    def verify(self, target: Target, around: Surroundings, backup: BackupManifest) -> VerifyReport:
        """Read all blocks of a backup again; compare them with their names and checksums."""
        return verify_backup(self.repository(target, around.backups), backup, around.progress)

    def restore(
        self, target: Target, around: Surroundings, backup: BackupManifest, wish: RestoreWish
    ) -> RestoreReport:
        """Write blocks of a backup into the grid, or into a new one."""
        if wish.names or wish.prefix:
            raise RefusedError(f"target {target.name} is a grid, which has blocks and no keys")
        repository = self.repository(target, around.backups)
        options = RestoreOptions(
            blocks=wish.blocks or None, overwrites=wish.overwrite, on_progress=around.progress
        )
        with connection(target.address, timeout_s=target.timeout_s) as client:
            if wish.into:
                return restore_into_new(client, wish.into, repository, backup, options)
            return restore_grid(client, target.grid_name, repository, backup, options)

    def packs_of_part(self, number: int, body: bytes) -> frozenset[str]:
        """The packs that an extent of a backup needs."""
        return packs_of_part(number, body)
