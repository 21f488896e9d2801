"""Detect files on a network file system, which other machines may write to, too."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ceph|lustre|beegfs\w*|gpfs|glusterfs|pvfs2|orangefs|afs|ncpfs|coda|9p|virtiofs|wekafs"
    r"|fuse\.(?:glusterfs|ceph\w*|sshfs|s3fs|gcsfuse|goofys|rclone|juicefs|mount-s3|lustre|seaweedfs|moosefs|mfs)"
)


def is_on_network(path: Path, *, mounts: str | None = None) -> bool:
    """Return whether a file, which need not exist, is on a network file system. `mounts`: the content of MOUNTS; False
    where the system has no such file."""
    if mounts is None:
        try:
            mounts = MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return False
    folder = path.parent.resolve()
    longest, kind = Path("/"), ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4]))
        if folder.is_relative_to(point) and len(point.parts) >= len(longest.parts):
            longest, kind = point, after.split()[0]
    return bool(_NETWORK.fullmatch(kind))
