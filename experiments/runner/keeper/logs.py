"""Log files for the output of processes."""

import os
import re
from pathlib import Path


class CappedLog:
    """`<prefix>.head` keeps the first `cap` bytes, `<prefix>.<offset>` (two segments) the last 1 to 2 × `cap`.

    A segment's name is its offset in the stream, so a reader needs no other state. The process may be able to write to
    the folder: its descriptor is kept open, and anything that the process left under the name of a segment is removed,
    never written to. No link in the folder `below` is followed; by default, that is the log's own folder.
    """

    def __init__(self, prefix: str, cap: int, below: str = "") -> None:
        path = Path(prefix)
        self.folder = open_folder(path.parent, Path(below) if below else path.parent)
        try:
            for old in os.listdir(self.folder):  # noqa: PTH208  of a descriptor
                if re.fullmatch(re.escape(path.name) + r"\.(head|\d+)", old):
                    os.unlink(old, dir_fd=self.folder)
            self.name, self.cap, self.offset = path.name, cap, 0
            self.tails: list[str] = []
            self.fd, self.bytes_left = self.create("head"), cap
        except OSError:
            os.close(self.folder)
            raise

    def create(self, segment: str) -> int:
        name = f"{self.name}.{segment}"
        try:
            os.unlink(name, dir_fd=self.folder)
        except FileNotFoundError:
            pass
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644, dir_fd=self.folder)

    def write(self, data: bytes) -> None:
        remaining = memoryview(data)
        while remaining:
            try:
                if not self.bytes_left:
                    self.begin_segment()
                written = os.write(self.fd, remaining[: self.bytes_left])
            except OSError:
                # The disk is full. The process continues; the offset of a later segment shows the gap.
                self.offset, self.bytes_left = self.offset + len(remaining), 0
                return
            self.offset += written
            self.bytes_left -= written
            remaining = remaining[written:]

    def begin_segment(self) -> None:
        fd = self.create(str(self.offset))
        os.close(self.fd)
        self.fd, self.bytes_left = fd, self.cap
        self.tails.append(f"{self.name}.{self.offset}")
        for old in self.tails[:-2]:
            try:
                os.unlink(old, dir_fd=self.folder)
            except FileNotFoundError:
                pass
        self.tails = self.tails[-2:]

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.folder)


class RotatingLog:
    """Append to `path`; at `cap` bytes it is renamed to `<path>.1`. For long-running services."""

    def __init__(self, path: str, cap: int) -> None:
        self.path, self.cap = path, cap
        self.fd = open_log(path)

    def write(self, data: bytes) -> None:
        try:
            size = os.fstat(self.fd).st_size
            if size and size + len(data) > self.cap:
                Path(self.path).replace(f"{self.path}.1")
                fd = open_log(self.path)
                os.close(self.fd)
                self.fd = fd
            os.write(self.fd, data)
        except OSError:
            pass  # the disk is full: drop the lines, keep the service running

    def close(self) -> None:
        os.close(self.fd)


def open_log(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)


def open_folder(path: Path, below: Path) -> int:
    """Return the descriptor of a folder. Links below `below` are not followed."""
    number = os.open(below, os.O_RDONLY | os.O_DIRECTORY)
    for name in path.relative_to(below).parts:
        upper = number
        try:
            number = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=upper)
        finally:
            os.close(upper)
    return number
