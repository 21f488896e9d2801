"""TD-V4: whether other machines may write a file as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.runner import network_files
from experiments.runner.network_files import is_on_network

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /data rw,relatime - nfs4 server:/export rw,vers=4.2
31 30 8:2 / /data/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/two\040words rw - fuse.sshfs alice@host: rw
33 22 0:42 / /scratch rw - ext4 /dev/sdc1 rw
34 22 0:43 / /scratch rw - lustre mds@tcp:/fs rw
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/alice/m.json", False),
        ("/data/run/m.json", True),
        ("/data/local/m.json", False),
        ("/database/m.json", False),
        ("/mnt/two words/m.json", True),
        ("/scratch/m.json", True),
    ],
)
def test_the_innermost_and_latest_mount_decides(path: str, expected: bool) -> None:
    """TD-V4"""
    assert is_on_network(Path(path), mounts=MOUNTS) is expected


def test_a_system_without_such_a_table_has_local_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-V4"""
    table = tmp_path / "mountinfo"
    monkeypatch.setattr(network_files, "MOUNTS", table)
    assert is_on_network(tmp_path / "m.json") is False
    table.write_text("22 1 0:40 / / rw - nfs server:/ rw\n")
    assert is_on_network(tmp_path / "m.json") is True
