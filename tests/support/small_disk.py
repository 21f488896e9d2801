"""A file system of a few megabytes, which a test can fill."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path


class SmallDisk:
    """A mounted tmpfs, at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        """Leave no space."""
        with (self.path / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 12))

    def free(self) -> None:
        (self.path / "filler").unlink()

    def make_read_only(self) -> None:
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True, capture_output=True)


@contextmanager
def small_disk(megabytes: int = 1) -> Iterator[SmallDisk]:
    """Mount one until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="small-disk-") as folder:
        size = f"size={megabytes}m,mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True, capture_output=True)
        try:
            yield SmallDisk(Path(folder))
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


@cache
def no_small_disk() -> str:
    """Return why no file system can be mounted; "" when it can."""
    try:
        with small_disk():
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no tmpfs can be mounted: {error}"
