"""A database backend for SQLite whose write transactions wait for a file lock before they begin.

If several processes write, SQLite itself makes each of them sleep for up to 100 ms before it tries again, regardless of
who has waited longest. With a lock file next to the database, which is tried every few milliseconds, the longest waits
are a tenth of that. SQLite's own lock remains authoritative: the file may be missing, and single statements do not use
it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Any

from django.db.backends.sqlite3 import base

PAUSE_S = 0.002  # between two tries


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection. `transaction_mode` is IMMEDIATE for connections that write."""

    transaction_mode: str | None  # set by Django's base class
    _descriptor: int | None = None  # of the file beside the database
    _is_locked = False

    def _start_transaction_under_autocommit(self) -> None:
        if self.transaction_mode == "IMMEDIATE":
            self._lock()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._unlock()
            raise

    def _commit(self) -> Any:
        result = super()._commit()  # type: ignore[misc]
        self._unlock()  # after an error, a rollback follows
        return result

    def _rollback(self) -> Any:
        try:
            return super()._rollback()  # type: ignore[misc]
        finally:
            self._unlock()

    def _close(self) -> Any:
        try:
            return super()._close()  # type: ignore[misc]
        finally:
            descriptor, self._descriptor, self._is_locked = self._descriptor, None, False
            if descriptor is not None:
                os.close(descriptor)

    def _lock(self) -> None:
        """Wait for the lock, at most as long as SQLite would wait for its own."""
        if self._descriptor is None:
            self._descriptor = self._open()
        if self._descriptor is None:
            return
        deadline = time.monotonic() + self.settings_dict["OPTIONS"].get("timeout", 5)
        while time.monotonic() < deadline:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(PAUSE_S)
            else:
                self._is_locked = True
                return

    def _open(self) -> int | None:
        """Return the descriptor of the lock file; None if it cannot be opened."""
        if self.is_in_memory_db():
            return None
        with contextlib.suppress(OSError):  # a full or read-only disk
            return os.open(f"{self.settings_dict['NAME']}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return None

    def _unlock(self) -> None:
        if self._is_locked and self._descriptor is not None:
            self._is_locked = False
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
