"""Handler of uploaded files."""

from __future__ import annotations

from contextlib import suppress

from django.core.files.uploadhandler import TemporaryFileUploadHandler


class TidyUploadHandler(TemporaryFileUploadHandler):
    """Deletes a partially received file as soon as the disk is full, so that it does not occupy the space."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write a chunk to the temporary file. Raise OSError."""
        try:
            super().receive_data_chunk(raw_data, start)
        except OSError:
            with suppress(OSError):  # flushing the buffer fails, too
                self.file.close()
            with suppress(FileNotFoundError):
                self.upload_interrupted()
            raise
