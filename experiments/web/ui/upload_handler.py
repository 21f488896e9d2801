"""Receives files that are uploaded."""

from __future__ import annotations

from contextlib import suppress

from django.core.files.uploadhandler import TemporaryFileUploadHandler


class TidyUploadHandler(TemporaryFileUploadHandler):
    """Deletes what was received of a file as soon as the disk has no space for the rest, which it would take up."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write it to the temporary file. Raise OSError."""
        try:
            super().receive_data_chunk(raw_data, start)
        except OSError:
            with suppress(OSError):  # what is still in memory does not fit either
                self.file.close()
            with suppress(FileNotFoundError):
                self.upload_interrupted()
            raise
