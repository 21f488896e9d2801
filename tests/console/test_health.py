"""`/healthz` and `/readyz`: they can tell."""

from __future__ import annotations

import shutil
from collections import namedtuple

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from console import health

pytestmark = pytest.mark.django_db

Usage = namedtuple("Usage", "total used free")


def test_all_is_well() -> None:
    """TD-S2"""
    for path in ("/healthz", "/readyz"):
        answer = Client().get(path)
        assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """TD-S2: it answered ok."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(48 << 20, 48 << 20, 0))
    for path in ("/healthz", "/readyz"):
        answer = Client().get(path)
        assert (answer.status_code, answer.content) == (503, b"the disk of the data folder is full\n")


def test_it_is_not_ready_before_the_database_is_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """TD-S2"""
    monkeypatch.setattr(health, "_is_current", False)
    latest = MigrationRecorder(connection).migration_qs.filter(app="experiments").order_by("-name").first()
    latest.delete()
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"the database lacks migrations\n")
    assert Client().get("/healthz").status_code == 200
