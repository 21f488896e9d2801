"""Helpers of the tests: real servers, real processes, waiting for an event instead of sleeping."""

from tests.support.waiting import eventually

__all__ = ["eventually"]
