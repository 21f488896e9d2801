"""Celery's consumer, made patient. Apart from console/celery.py, so that web processes need not load it."""

from functools import partial

from celery.worker.consumer import Consumer
from kombu import Connection


class PatientConsumer(Consumer):
    """Looks for a broker that went away at least every two seconds (Celery's own pauses grow to 30)."""

    def ensure_connected(self, conn: Connection) -> Connection:
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=0.2, interval_step=0.4, interval_max=2
        )
        return super().ensure_connected(conn)
