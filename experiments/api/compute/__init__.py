"""Endpoints of queues and workers."""
