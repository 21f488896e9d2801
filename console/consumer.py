"""Celery's consumer with shorter retries. Separate from console/celery.py, so that web processes do not load it."""

from functools import partial
from typing import Any

from celery.worker.consumer import Consumer
from kombu import Connection


class PatientConsumer(Consumer):
    """Retry a lost broker connection at least every 2 s (Celery's own intervals grow to 30 s)."""

    def ensure_connected(self, conn: Connection) -> Any:
        retry_soon = partial(conn.ensure_connection, interval_start=0.2, interval_step=0.4, interval_max=2)
        setattr(conn, "ensure_connection", retry_soon)  # noqa: B010  Celery offers no setting for the intervals
        return super().ensure_connected(conn)
