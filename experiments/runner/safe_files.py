"""Files below a root folder, without following links: open, list, create, move, delete.

Owners and permission bits are in `file_ownership`.

A trial may put anything into its folder at any time: a link, a pipe, a device, or a link in place of a folder that was
checked a moment before. So each function enters the folders of a path one by one, by the descriptor of the parent
folder and with O_NOFOLLOW, and accesses the last name by that descriptor. Only the root itself may be reached through
links: it belongs to the console, or to the person who chose it.

Paths are absolute or relative to `below`, the root, which is a path or an open folder. All functions raise
OutsideFolder for a path that is not below the root or has a link in it, and OSError.

A hard link counts as a regular file: whoever created it could already open its file, and deleting it removes only its
name.
"""

import errno
import os
import shutil
import stat
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a named pipe would otherwise wait for a writer forever.
READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LEVELS = 10_000  # of folders to delete; something may create new ones at the same time


class OutsideFolder(ValueError):
    """A path leaves its folder, or has a link in it. `str()` is a message for users."""


class NotRegular(FileNotFoundError):
    """The path is not a regular file but, for example, a pipe, a device or a folder."""


class OpenFolder:
    """A folder that stays open, as a root for the functions below: they need not enter its parent folders each time,
    and it remains the same folder whatever happens to its name. Thread-safe. Once closed, it is like any other path
    below its own root. Raises the same errors as `opened_folder`. `parent` is a descriptor of the folder above it, if
    there is one."""

    def __init__(self, path: Path, *, below: Path, parent: int | None = None) -> None:
        self.path, self.below = path, below
        self._lock = threading.Lock()  # so that no descriptor is used after it was closed
        self._number: int | None = (
            _open_folder(_names(path, below), below, create=False)
            if parent is None
            else enter_folder(parent, path.name)
        )

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def descriptor(self) -> int:
        """Return a new descriptor of the folder."""
        with self._lock:
            if self._number is not None:
                # Not a duplicate: all duplicates would share their position in the list of names.
                return os.open(".", _FOLDER, dir_fd=self._number)
        return _open_folder(_names(self.path, self.below), self.below, create=False)

    def is_own(self) -> bool:
        """Return whether the folder belongs to this process's user, so that no other user can have put anything into
        it."""
        with self._lock:
            return self._number is not None and os.fstat(self._number).st_uid == os.geteuid()

    def status_of(self, path: Path | str) -> os.stat_result | None:
        """Return the status of a file below this folder, or of a link itself; None when it does not exist. It is only a
        hint: parent folders are entered by name, so links among them are followed."""
        with self._lock:
            try:
                if self._number is None:
                    return status_of(path, below=self.below)
                return os.stat(self._name(path), dir_fd=self._number, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def add_folder(self, path: Path | str) -> None:
        """Create a folder below this one unless it exists. Use it only while nobody else can write here: parent folders
        are entered by name, and must exist."""
        with self._lock, suppress(FileExistsError):
            os.mkdir(self._name(path), dir_fd=self._number)

    def add_file(self, path: Path | str, data: str | bytes, *, mode: int = 0o666) -> None:
        """Create a file below this folder; use it only while nobody else can write here, like `add_folder`. Raise
        FileExistsError. `mode` is subject to the umask."""
        with self._lock:
            number = os.open(self._name(path), CREATE_FLAGS, mode, dir_fd=self._number)
        with os.fdopen(number, "wb", buffering=0) as file:
            file.write(data.encode() if isinstance(data, str) else data)

    def _name(self, path: Path | str) -> str:
        if self._number is None:
            raise ValueError(f"{self.path} is closed")
        return os.fspath(path)[len(os.fspath(self.path)) + 1 :]

    def close(self) -> None:
        """Close the folder. Idempotent."""
        with self._lock:
            number, self._number = self._number, None
        if number is not None:
            os.close(number)


Root = Path | OpenFolder


@contextmanager
def opened_folder(path: PurePath | str, *, below: Root, create: bool = False) -> Iterator[int]:
    """Yield the descriptor of a folder; an empty path is the root. With `create`, create missing folders."""
    number = _open_folder(_names(path, below), below, create=create)
    try:
        yield number
    finally:
        os.close(number)


def list_names(path: PurePath | str, *, below: Root) -> list[str]:
    """Return the names in a folder, sorted."""
    with opened_folder(path, below=below) as number:
        return sorted(os.listdir(number))  # noqa: PTH208  of a descriptor


def status_of(path: PurePath | str, *, below: Root) -> os.stat_result:
    """Return the status of a file, or of a link itself."""
    with opened_parent(path, below) as (folder, name):
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


def open_regular(path: PurePath | str, *, below: Root) -> BinaryIO:
    """Open a regular file for reading. Raise NotRegular for anything else."""
    with opened_parent(path, below) as (folder, name):
        # Check the type first: opening a device may have side effects.
        _require_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), name)
        number = os.open(name, READ_FLAGS, dir_fd=folder)
    try:
        _require_regular(os.fstat(number), name)  # it may have been replaced in between
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def read_text(path: PurePath | str, *, below: Root, max_bytes: int) -> str:
    """Return the text of a regular file. Raise ValueError when it is larger or not UTF-8."""
    with open_regular(path, below=below) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{PurePath(path).name} has more than {max_bytes:,} bytes")
    return data.decode()


def write_new(path: PurePath | str, data: str | bytes, *, below: Root, mode: int = 0o666) -> None:
    """Create a file and its folders. Anything with its name, such as a link, is removed first and never written to.
    `mode` is subject to the umask."""
    with opened_parent(path, below, create=True) as (folder, name):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        with os.fdopen(os.open(name, CREATE_FLAGS, mode, dir_fd=folder), "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)


def add(path: PurePath | str, data: bytes, *, below: Root) -> None:
    """Create a file and its folders. Raise FileExistsError when anything has its name."""
    with opened_parent(path, below, create=True) as (folder, name):
        number = os.open(name, CREATE_FLAGS, 0o666, dir_fd=folder)
    with os.fdopen(number, "wb") as file:
        file.write(data)


def replace(path: PurePath | str, source: BinaryIO, *, below: Root, is_synced: bool = False) -> None:
    """Atomically create or replace a file with the rest of `source`, and create its folders. With `is_synced`, the file
    also survives a power failure, and errors that network file systems report late are raised."""
    with opened_parent(path, below, create=True) as (folder, name):
        draft = f".{uuid.uuid4().hex}"
        try:
            with os.fdopen(os.open(draft, CREATE_FLAGS, 0o666, dir_fd=folder), "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
                if is_synced:
                    file.flush()
                    os.fsync(file.fileno())
            os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)
            raise


def list_files(path: PurePath | str, *, below: Root, max_name: int) -> Iterator[tuple[str, os.stat_result]]:
    """Yield every entry below a folder except folders: its relative name, with slashes, and its own status (a link's,
    not its target's). A folder whose name is longer than `max_name` is yielded itself, not entered. Folders that
    disappear or become links meanwhile are skipped."""
    folders = [""]
    while folders:
        inner = folders.pop()
        try:
            with opened_folder(os.path.join(path, inner), below=below) as number:  # noqa: PTH118
                statuses = list_statuses(number)
        except (OSError, OutsideFolder):
            continue
        deeper = []
        for name, status in statuses:
            full_name = f"{inner}/{name}" if inner else name
            if stat.S_ISDIR(status.st_mode) and len(full_name) <= max_name:
                deeper.append(full_name)
            else:
                yield full_name, status
        folders += reversed(deeper)


def move(source: PurePath | str, target: PurePath | str, *, below: Root) -> bool:
    """Move a regular file, and create its folders, unless the target exists. Return whether it was moved."""
    with (
        opened_parent(source, below) as (old_folder, old),
        opened_parent(target, below, create=True) as (folder, name),
    ):
        _require_regular(os.stat(old, dir_fd=old_folder, follow_symlinks=False), old)
        if _exists(name, folder):
            return False
        os.rename(old, name, src_dir_fd=old_folder, dst_dir_fd=folder)
        return True


def link_or_copy(source: PurePath | str, target: PurePath | str, *, below: Root) -> None:
    """Create `target` as a hard link to a regular file, or as a copy where the file system has no hard links."""
    with (
        open_regular(source, below=below) as file,
        opened_parent(target, below, create=True) as (folder, name),
    ):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        try:
            # By its descriptor: the name may refer to something else by now.
            os.link(f"/proc/self/fd/{file.fileno()}", name, dst_dir_fd=folder, follow_symlinks=True)
        except OSError:
            with os.fdopen(os.open(name, CREATE_FLAGS, 0o644, dir_fd=folder), "wb") as copy:
                shutil.copyfileobj(file, copy, 1 << 20)


def remove(path: PurePath | str, *, below: Root) -> None:
    """Delete a file, or a link itself, if it exists."""
    try:
        with opened_parent(path, below) as (folder, name):
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def remove_tree(path: PurePath | str, *, below: Root) -> None:
    """Delete a folder with everything in it, a file, or a link itself, if it exists."""
    try:
        with opened_parent(path, below) as (folder, name):
            if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=folder)
                return
            top = enter_folder(folder, name)
            try:
                _empty(top)
            finally:
                os.close(top)
            os.rmdir(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _empty(top: int) -> None:
    """Delete everything in a folder. Nested folders are first moved up, so that no depth exhausts descriptors or the
    stack."""
    for _ in range(_MAX_LEVELS):
        folders = []
        for name, status in list_statuses(top):
            if stat.S_ISDIR(status.st_mode):
                folders.append(name)
            else:
                os.unlink(name, dir_fd=top)
        if not folders:
            return
        for name in folders:
            number = enter_folder(top, name)
            try:
                _move_up(number, top)
            finally:
                os.close(number)
            os.rmdir(name, dir_fd=top)


def _move_up(folder: int, top: int) -> None:
    """Delete the files of a folder, and move its folders to `top`."""
    with suppress(OSError):
        os.fchmod(folder, 0o700)  # package caches are read-only
    for name, status in list_statuses(folder):
        if not stat.S_ISDIR(status.st_mode):
            os.unlink(name, dir_fd=folder)
            continue
        inner = enter_folder(folder, name)
        with suppress(OSError):
            os.fchmod(inner, 0o700)
        os.close(inner)
        os.rename(name, uuid.uuid4().hex, src_dir_fd=folder, dst_dir_fd=top)


@contextmanager
def opened_parent(path: PurePath | str, below: Root, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """Yield the descriptor of the folder that contains `path`, and the last name."""
    *upper, name = _names(path, below) or [""]
    if not name:
        raise OutsideFolder(f"{os.fspath(path)!r} is outside its folder.")
    folder = _open_folder(upper, below, create=create)
    try:
        yield folder, name
    finally:
        os.close(folder)


def _open_folder(names: list[str], below: Root, *, create: bool) -> int:
    """Return the descriptor of the folder reached from the root through these names."""
    number = (
        below.descriptor()
        if isinstance(below, OpenFolder)
        else os.open(below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    )
    for name in names:
        try:
            upper, number = number, enter_folder(number, name, create=create)
        except BaseException:
            os.close(number)
            raise
        os.close(upper)
    return number


def _names(path: PurePath | str, below: Root) -> list[str]:
    text, root = os.fspath(path), os.fspath(below)
    if text.startswith(
        f"{root}/"
    ):  # as text, because a trial's files are opened a hundred times, and pathlib is slow
        names = [name for name in text[len(root) + 1 :].split("/") if name not in ("", ".")]
    else:
        try:
            names = list(PurePath(below, text).relative_to(below).parts)
        except ValueError:
            names = [".."]
    if ".." in names or "\0" in text:
        raise OutsideFolder(f"{text!r} is outside its folder.")
    return names


def enter_folder(folder: int, name: str, *, create: bool = False) -> int:
    """Return the descriptor of a folder in a folder."""
    try:
        try:
            return os.open(name, _FOLDER, dir_fd=folder)
        except FileNotFoundError:
            if not create:
                raise
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        # O_DIRECTORY with O_NOFOLLOW also reports ENOTDIR for a link.
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and _is_link(name, folder):
            raise OutsideFolder(f"{name!r} is a link. Links are not followed.") from error
        raise


def list_statuses(folder: int) -> list[tuple[str, os.stat_result]]:
    """Return the names in a folder, sorted, and the status of each."""
    statuses = []
    for name in sorted(os.listdir(folder)):
        with suppress(FileNotFoundError):
            statuses.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
    return statuses


def _require_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OutsideFolder(f"{name!r} is a link. Links are not followed.")
    if not stat.S_ISREG(status.st_mode):
        raise NotRegular(errno.ENOENT, "Not a regular file", name)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_link(name: str, folder: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except OSError:
        return False
