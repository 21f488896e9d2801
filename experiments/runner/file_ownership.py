"""Owners and permission bits of files below a root folder, without following links.

Paths, roots and errors are those of `safe_files`.
"""

import os
import shutil
import stat
import uuid
from pathlib import Path, PurePath

from experiments.runner.safe_files import (
    CREATE_FLAGS,
    READ_FLAGS,
    Root,
    enter_folder,
    list_statuses,
    open_regular,
    opened_folder,
    opened_parent,
)


def open_to_everyone(path: PurePath | str, *, below: Root) -> None:
    """Let every user who can reach a folder read and write everything in it: a container may run as any user."""
    folders = [PurePath(below, path)]
    while folders:
        folder = folders.pop()
        with opened_folder(folder, below=below) as number:
            os.fchmod(number, 0o777)
            statuses = list_statuses(number)
        for name, status in statuses:
            if stat.S_ISDIR(status.st_mode):
                folders.append(folder / name)
            elif stat.S_ISREG(status.st_mode):
                with open_regular(folder / name, below=below) as file:
                    os.fchmod(file.fileno(), 0o777 if status.st_mode & 0o100 else 0o666)


def make_private(path: PurePath | str, *, below: Root) -> None:
    """Remove all permissions of other users from a file, or from a folder and everything in it. Links are skipped."""
    with opened_parent(path, below) as (upper, name):
        pending = [(PurePath(below, path), os.stat(name, dir_fd=upper, follow_symlinks=False))]
    while pending:
        full_path, status = pending.pop()
        with opened_parent(full_path, below) as (upper, name):
            if stat.S_ISDIR(status.st_mode):
                number = enter_folder(upper, name)
                try:
                    pending += [(full_path / inner, status) for inner, status in list_statuses(number)]
                    os.fchmod(number, stat.S_IMODE(status.st_mode) & 0o700)
                finally:
                    os.close(number)
            elif not stat.S_ISLNK(status.st_mode):
                # O_PATH opens nothing, so that it also works for sockets and pipes.
                number = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=upper)
                try:
                    Path(f"/proc/self/fd/{number}").chmod(stat.S_IMODE(status.st_mode) & 0o700)
                finally:
                    os.close(number)


def give_to(
    path: PurePath | str,
    *,
    below: Root,
    uid: int,
    gid: int,
    only_of: int | None = None,
    modes: int | None = None,
) -> None:
    """Change the owner and group of a folder and everything in it; with `only_of`, only of what that user ID owns.

    A file with other hard links is replaced by a copy first, so that the other links keep their owner. With `only_of`,
    it is skipped instead: another user may have linked anybody's file. `modes`: permission bits to add, as for chmod;
    execute bits are added to folders and programs only. Upper folders come first: once the processes of the old owner
    have ended, nobody else can enter meanwhile.
    """
    folders = [PurePath(below, path)]
    while folders:
        folder = folders.pop()
        with opened_folder(folder, below=below) as number:
            own = os.fstat(number)
            if only_of in (None, own.st_uid):
                os.fchown(number, uid, gid)
            if modes is not None:
                os.fchmod(number, stat.S_IMODE(own.st_mode) | modes)
            for name, status in list_statuses(number):
                if stat.S_ISDIR(status.st_mode):
                    folders.append(folder / name)
                elif _may_change_owner(status, only_of=only_of):
                    _give_file(number, folder / name, status, below=below, uid=uid, gid=gid, modes=modes)


def _may_change_owner(status: os.stat_result, *, only_of: int | None) -> bool:
    if only_of is None:
        return True
    return status.st_uid == only_of and not _has_other_links(status)


def _has_other_links(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink > 1


def _give_file(
    folder: int,
    path: PurePath,
    status: os.stat_result,
    *,
    below: Root,
    uid: int,
    gid: int,
    modes: int | None,
) -> None:
    if _has_other_links(status):
        _copy_in_place(folder, path.name)
    os.chown(path.name, uid, gid, dir_fd=folder, follow_symlinks=False)
    if modes is not None and stat.S_ISREG(status.st_mode):
        added = modes if status.st_mode & 0o100 else modes & ~0o111
        with open_regular(path, below=below) as file:
            os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode) | added)


def _copy_in_place(folder: int, name: str) -> None:
    """Replace a file in a folder by a copy that has no other hard links."""
    draft = f".{uuid.uuid4().hex}"
    with os.fdopen(os.open(name, READ_FLAGS, dir_fd=folder), "rb") as source:
        status = os.fstat(source.fileno())
        with os.fdopen(os.open(draft, CREATE_FLAGS, 0o600, dir_fd=folder), "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            os.fchmod(copy.fileno(), stat.S_IMODE(status.st_mode) & 0o777)
        os.utime(draft, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=folder)
    os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
