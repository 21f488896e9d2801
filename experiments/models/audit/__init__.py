"""The audit log: `record` appends an entry, in the transaction of the recorded action."""

from .entry import AuditEntry, Origin, origin, origin_of_now, record

__all__ = ["AuditEntry", "Origin", "origin", "origin_of_now", "record"]
