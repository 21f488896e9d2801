"""The log of a trial: its first and its last 8 MiB, in pieces with their offsets."""

from __future__ import annotations

from typing import Self

from django.db import models

from experiments.models import driver

HEAD_BYTES = 8 * 1024 * 1024
TAIL_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 64 * 1024


class LogPiece(models.Model):
    """Consecutive bytes of a trial's output. `offset` counts from its start; a gap means that bytes were dropped."""

    trial = models.ForeignKey("Trial", models.CASCADE, related_name="log_pieces", db_index=False)
    offset = models.BigIntegerField()
    size = models.IntegerField()
    data = models.BinaryField()

    class Meta:
        ordering = ["offset"]
        constraints = [models.UniqueConstraint(fields=["trial", "offset"], name="log_piece_once")]

    def __str__(self) -> str:
        return f"{self.trial_id}: {self.offset}+{self.size}"

    @classmethod
    def keep(cls, pieces: list[Self]) -> None:
        """Store pieces. A piece that has grown replaces its earlier version."""
        latest = {(piece.trial_id, piece.offset): (piece.size, bytes(piece.data)) for piece in pieces}
        if not latest:
            return
        sql = (
            f'INSERT INTO {cls._meta.db_table} (trial_id, "offset", size, data) VALUES (%s, %s, %s, %s) '
            'ON CONFLICT (trial_id, "offset") DO UPDATE SET size = excluded.size, data = excluded.data'
        )
        driver.execute_many(sql, [(*key, *content) for key, content in latest.items()])

    @classmethod
    def trim(cls, trial_id: int, *, total: int) -> None:
        """Delete the pieces between the head and the tail of an output of `total` bytes."""
        if total > HEAD_BYTES + TAIL_BYTES:
            cls.objects.filter(
                trial=trial_id, offset__gte=HEAD_BYTES, offset__lt=total - TAIL_BYTES - PIECE_BYTES
            ).delete()

    @classmethod
    def tail(cls, trial_id: int, *, size: int = PIECE_BYTES) -> bytes:
        """Return the last stored bytes, at most `size`."""
        data = b""
        for piece in cls.objects.filter(trial=trial_id).order_by("-offset").iterator(chunk_size=4):
            data = bytes(piece.data) + data
            if len(data) >= size:
                break
        return data[-size:]
