"""Signed-in sessions: where each was opened, and when it was last used."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import models, transaction
from django.db.models import Exists, OuterRef

from experiments import database_clock
from experiments.models import audit
from experiments.models.fields import StampField

from .user import User

USED_EVERY = timedelta(minutes=5)  # precision of `last_used_at`
LONGEST_AGENT = 300
_BROWSERS = (
    ("Edge", r"\bEdgA?/"), ("Opera", r"\bOPR/"), ("Firefox", r"\bFirefox/|\bFxiOS/"), ("Chromium", r"\bChromium/"),
    ("Chrome", r"Chrome/|\bCriOS/"), ("Safari", r"\bSafari/"), ("curl", r"^curl/"), ("Python", r"(?i)^python"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", r"\biPhone\b"), ("iPad", r"\biPad\b"), ("Android", r"\bAndroid\b"), ("Windows", r"\bWindows\b"),
    ("macOS", r"\bMac OS X\b|\bMacintosh\b"), ("Linux", r"\bLinux\b|\bX11\b"),
)  # fmt: skip


class UserSession(models.Model):
    """A session of a person. It ends with Django's session of this key; the key itself is never shown."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(User, models.CASCADE, related_name="sessions")
    session_key = models.CharField(max_length=40, unique=True)
    way = models.CharField(max_length=32, blank=True)  # how the person signed in
    agent = models.CharField(max_length=LONGEST_AGENT, blank=True)
    address = models.CharField(max_length=64, blank=True)
    created_at = StampField()
    last_used_at = StampField()

    class Meta:
        ordering = ["-last_used_at"]

    def __str__(self) -> str:
        return f"{self.user} on {self.device}"

    @property
    def device(self) -> str:
        """Browser and system, such as `Firefox on Linux`."""
        browser = next((name for name, pattern in _BROWSERS if re.search(pattern, self.agent)), "")
        system = next((name for name, pattern in _SYSTEMS if re.search(pattern, self.agent)), "")
        return " on ".join(filter(None, (browser or "Unknown browser", system)))

    @classmethod
    def living(cls) -> models.QuerySet[UserSession]:
        """Return those whose session has not expired."""
        valid = Session.objects.filter(
            session_key=OuterRef("session_key"), expire_date__gt=database_clock.now()
        )
        return cls.objects.filter(Exists(valid))

    def end(self, *, by: User) -> None:
        """Sign out this session."""
        with transaction.atomic():
            _store(self.session_key).delete()
            UserSession.objects.filter(pk=self.pk).delete()
            audit.record(
                "session_end", by=by, subject=self.user, device=self.device, signed_in_from=self.address
            )

    @classmethod
    def end_all(cls, user: User, *, but: str | None = None) -> int:
        """Sign out all sessions of a person, except that with the key `but`. Return how many there were."""
        other_sessions = list(cls.living().filter(user=user).exclude(session_key=but or ""))
        with transaction.atomic():
            for session in other_sessions:
                _store(session.session_key).delete()
            cls.objects.filter(user=user).exclude(session_key=but or "").delete()
            if other_sessions:
                audit.record("sessions_end", subject=user, number=len(other_sessions))
        return len(other_sessions)

    @classmethod
    def delete_expired(cls, now: datetime) -> None:
        """Delete the rows of expired sessions."""
        sessions = Session.objects.filter(session_key=OuterRef("session_key"))
        cls.objects.filter(~Exists(sessions), created_at__lt=now - timedelta(hours=1)).delete()


def _store(key: str) -> Any:
    return import_module(settings.SESSION_ENGINE).SessionStore(key)
