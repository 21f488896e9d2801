"""The boot IDs of a worker, stored in its folder: with them, a restarted worker recognizes its own row."""

from __future__ import annotations

import logging
import os
import uuid
from pathlib import Path

logger = logging.getLogger(__name__)

MOST = 5  # boot IDs kept in the file: a stored boot may not have been registered


class Boots:
    """The file with the boot IDs in a worker's folder. Two workers with the same name have different folders."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "boots"
        self.earlier: list[uuid.UUID] = self._read()  # and those of this process; the latest is last

    def new(self) -> uuid.UUID:
        """Return a new boot ID, stored before it is registered. If the disk is full, it is not stored: a restart after
        a kill then waits for the end of the lease."""
        boot = uuid.uuid4()
        self.earlier = [*self.earlier, boot][-MOST:]
        draft = self._path.with_suffix(".draft")
        try:
            draft.write_text("".join(f"{each}\n" for each in self.earlier))
            os.replace(draft, self._path)  # noqa: PTH105
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._path, error)
        return boot

    def _read(self) -> list[uuid.UUID]:
        try:
            return [uuid.UUID(line) for line in self._path.read_text().split()]
        except (OSError, ValueError):  # the first start, or a failing disk
            return []
