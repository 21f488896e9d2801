"""API tokens: a token acts for one user, with at most one role, in one workspace."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, models, transaction
from django.db.models import Q

from experiments import database_clock
from experiments.models import audit
from experiments.models.fields import StampField
from experiments.models.workspace.workspace import Role, Workspace

from .user import TOKEN_CREATED, User

PREFIX = "td_"
SHOWN = 9  # characters of the secret that lists show for recognition
USED_EVERY = timedelta(minutes=1)  # precision of `last_used_at`, so that not every read becomes a write


class TokenQuerySet(models.QuerySet["Token"]):
    def working(self, now: datetime) -> TokenQuerySet:
        """Tokens that are neither revoked nor expired."""
        return self.filter(revoked_at=None).filter(Q(expires_at=None) | Q(expires_at__gt=now))


class Token(models.Model):
    """The credential of a program.

    Only the secret's SHA-256 is kept. A slow hash with salt protects passwords because people choose guessable ones;
    256 random bits cannot be
    guessed, so a fast hash is as safe, and an index finds it in one read.

    A token without a workspace is valid in all workspaces of its user; only tools on the console's machine create such
    tokens.
    """

    name = models.CharField(max_length=100)
    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    workspace = models.ForeignKey(Workspace, models.CASCADE, null=True, related_name="tokens")
    role = models.CharField(max_length=8, choices=Role.choices)
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=16)
    created_at = StampField()
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    objects = TokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [models.CheckConstraint(condition=Q(role__in=Role.values), name="token_role")]

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"

    @classmethod
    def make(
        cls,
        name: str,
        *,
        user: User,
        workspace: Workspace | None,
        role: str,
        valid_for: timedelta | None = None,
    ) -> tuple[Token, str]:
        """Return (row, secret). The secret is available only now. `valid_for` None: no expiry."""
        secret, now = PREFIX + secrets.token_urlsafe(32), database_clock.now()
        with transaction.atomic():
            token = cls.objects.create(
                name=name,
                user=user,
                workspace=workspace,
                role=Role(role),
                digest=_digest(secret),
                hint=secret[:SHOWN],
                created_at=now,
                expires_at=None if valid_for is None else now + valid_for,
            )
            expires = f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "never"
            token._record("token_create", role=token.role, expires=expires)
            if workspace:  # otherwise it is created at each start of a console
                user.notify_of_change(TOKEN_CREATED.format(name))
        return token, secret

    @classmethod
    def find(cls, secret: str) -> Token | None:
        """Return the token with this secret, even if it is revoked or expired; None if there is none."""
        return cls.objects.filter(digest=_digest(secret)).select_related("user", "workspace").first()

    def why_not(self, now: datetime) -> str:
        """Why it is not valid, as a sentence; empty if it is."""
        if self.revoked_at is not None:
            return f"The token {self} was revoked. Create a new one."
        if self.is_expired(now):
            return f"The token {self} expired on {self.expires_at:%Y-%m-%d %H:%M} UTC. Create a new one."
        if not self.user.is_active:
            return f"The token {self} belongs to {self.user}, whose account is disabled."
        if self.workspace and self.workspace.role_of(self.user) is None:
            return f"The token {self} belongs to {self.user}, who is no longer in the workspace {self.workspace}."
        return ""

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def bearer(self) -> User:
        """Return its user, limited to the permissions of this token."""
        self.user.token = self
        return self.user

    def opens(self, workspace: Workspace) -> bool:
        return self.workspace_id is None or self.workspace_id == workspace.pk

    def capped(self, role: Role) -> Role:
        """Return the lower of the user's role and this token's role."""
        return min(role, Role(self.role), key=lambda role: role.rank)

    def note_use(self, now: datetime) -> None:
        """Note that it was used, at most once a minute."""
        if self.last_used_at is not None and now - self.last_used_at < USED_EVERY:
            return
        with suppress(OperationalError):  # a full disk must not prevent reading
            Token.objects.filter(pk=self.pk).update(last_used_at=now)

    def revoke(self) -> bool:
        """Revoke it. Return False if it already is revoked."""
        with transaction.atomic():
            working = Token.objects.filter(pk=self.pk, revoked_at=None)
            is_new = bool(working.update(revoked_at=database_clock.now()))
            if is_new:
                self._record("token_revoke")
        return is_new

    def _record(self, verb: str, **values: Any) -> None:
        audit.record(verb, workspace=self.workspace, subject=self, acts_for=self.user, **values)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
