"""Which file system a file lies on decides whether a journal may be there."""

from __future__ import annotations

from pathlib import Path

import pytest

from medic8.errors import ConfigurationError
from medic8.recovery import tables
from medic8.recovery.file_systems import network_file_system

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:40 / /srv rw shared:2 - nfs4 filer:/srv rw,vers=4.2
41 40 0:41 / /srv/local rw - xfs /dev/vdb rw
42 22 0:42 / /mnt/two\040words rw - cifs //filer/share rw
43 22 0:43 / /mnt/over rw - ext4 /dev/vdc rw
44 43 0:44 / /mnt/over rw - fuse.sshfs host:/ rw
""".replace("\\\\", "\\")


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/var/lib/medic8/journal.sqlite", ""),
        ("/srv/journal.sqlite", "nfs4"),
        ("/srv/deep/down/journal.sqlite", "nfs4"),
        ("/srv/local/journal.sqlite", ""),
        ("/srvice/journal.sqlite", ""),
        ("/mnt/two words/journal.sqlite", "cifs"),
        ("/mnt/over/journal.sqlite", "fuse.sshfs"),
    ],
)
def test_the_innermost_and_last_mount_decides(file: str, kind: str) -> None:
    """A disk mounted below a share is local, and a share mounted over a disk is not."""
    assert network_file_system(Path(file), MOUNTS) == kind


@pytest.mark.parametrize("mounts", ["", "junk", "1 2 3 - nfs", "22 1 254:0 / / rw - ext4"])
def test_where_nothing_tells_nothing_is_refused(mounts: str) -> None:
    """A container may hide its mounts."""
    assert network_file_system(Path("/srv/journal.sqlite"), mounts) == ""


def test_this_very_machine_is_read(tmp_path: Path) -> None:
    """Temporary files of tests are local."""
    assert network_file_system(tmp_path / "journal.sqlite") == ""


def test_a_journal_on_a_share_is_refused_with_what_to_do() -> None:
    """Its locks would not hold between machines."""
    with pytest.raises(ConfigurationError, match=r"network file system \(nfs4\).*postgresql://user@host"):
        tables._require_local(Path("/srv/journal.sqlite"), MOUNTS)
