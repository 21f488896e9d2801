"""Links that show one view, read-only, to anyone who has them, without an account, until they expire or are revoked."""

from __future__ import annotations

import hashlib
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Self

from django.db import OperationalError, models, transaction
from django.db.models import F, Q

from experiments import database_clock
from experiments.models import audit
from experiments.models.account.user import User
from experiments.models.experiment.model import Experiment
from experiments.models.fields import StampField
from experiments.models.settings import Invalid
from experiments.models.status import Refused
from experiments.models.workspace.workspace import Role, Workspace

from .dashboard import Dashboard

MAX_NAME = 60
SHOWN = 6  # characters of the secret that lists show for recognition
LONGEST = timedelta(days=365)
NOTED_EVERY = timedelta(hours=1)
MOST = 200  # valid links of a workspace


class ShareLinkQuerySet(models.QuerySet["ShareLink"]):
    def working(self, now: datetime) -> Self:
        """Links that are neither revoked nor expired."""
        return self.filter(revoked_at=None, expires_at__gt=now)


class ShareLink(models.Model):
    """A link to a dashboard or to an experiment's overview.

    Only the secret's SHA-256 is kept: 192 random bits cannot be guessed, so a fast hash is as safe as a slow one. A
    link works as long as its creator may edit what it shows.
    """

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="share_links")
    dashboard = models.ForeignKey(Dashboard, models.CASCADE, null=True, related_name="links")
    experiment = models.ForeignKey(Experiment, models.CASCADE, null=True, related_name="links")
    name = models.CharField(max_length=MAX_NAME, blank=True)  # who it is for
    created_by = models.ForeignKey(User, models.CASCADE, related_name="share_links")
    digest = models.CharField(max_length=64, unique=True)
    hint = models.CharField(max_length=8)
    created_at = StampField()
    expires_at = models.DateTimeField()
    opened_count = models.IntegerField(default=0)
    last_opened_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    objects = ShareLinkQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(dashboard=None) ^ Q(experiment=None), name="share_link_shows_one_view"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name or 'Link'} ({self.hint}…)"

    @classmethod
    def create(
        cls,
        target: Dashboard | Experiment,
        *,
        by: User,
        name: str = "",
        valid_for: timedelta | None = None,
        until: datetime | None = None,
    ) -> tuple[ShareLink, str]:
        """Return (row, secret). The secret is available only now. Raise `Invalid`, `Refused` for one too many."""
        now = database_clock.now()
        expires_at = until if until is not None else now + (valid_for or timedelta(days=7))
        name = " ".join(name.replace("\0", "").split())
        errors: dict[str, list[str]] = {}
        if len(name) > MAX_NAME:
            errors["name"] = [f"Enter a name of at most {MAX_NAME} characters."]
        if not now < expires_at <= now + LONGEST:
            errors["until"] = [f"Select a time in the next {LONGEST.days} days."]
        if errors:
            raise Invalid(errors)
        secret = secrets.token_urlsafe(24)
        link = cls(
            workspace=target.workspace,
            dashboard=target if isinstance(target, Dashboard) else None,
            experiment=target if isinstance(target, Experiment) else None,
            name=name,
            created_by=by,
            digest=_digest(secret),
            hint=secret[:SHOWN],
            created_at=now,
            expires_at=expires_at,
        )
        with transaction.atomic():
            Workspace.objects.select_for_update().get(pk=target.workspace.pk)
            if cls.objects.filter(workspace=target.workspace).working(now).count() >= MOST:
                raise Refused(f"The workspace has {MOST} active links, the maximum. Revoke one first.")
            link.save()
            audit.record("link_create", by=by, workspace=target.workspace, subject=link, shows=link.shows)
        return link, secret

    @classmethod
    def find(cls, secret: str, now: datetime) -> ShareLink | None:
        """Return the working link with this secret, or None. Two queries at most."""
        rows = cls.objects.working(now).select_related(
            "workspace", "created_by", "dashboard", "experiment__workspace", "experiment__project"
        )
        link = rows.filter(digest=_digest(secret)).first()
        return link if link is not None and link.is_backed else None

    @property
    def is_backed(self) -> bool:
        """Return whether its creator may still edit what it shows, and others may see it. At most one query."""
        role = self.workspace.role_of(self.created_by) if self.workspace.has_automl else None
        if role is None or role.rank < Role.OPERATOR.rank:
            return False
        if self.experiment is not None:
            experiment = self.experiment
            is_here = experiment.workspace_id == self.workspace_id and experiment.trashed_at is None
            return is_here and experiment.visibility == "workspace"
        return self.dashboard is not None and (
            self.dashboard.is_shared or self.dashboard.owner_id == self.created_by_id
        )

    @property
    def shows(self) -> str:
        """Return what it shows, for the audit log: without names that may be private."""
        return (
            f"experiment {self.experiment.public_id}" if self.experiment else f"dashboard {self.dashboard_id}"
        )

    def is_expired(self, now: datetime) -> bool:
        return self.expires_at <= now

    def note_use(self, now: datetime) -> None:
        """Count an opening; the audit log records at most one per hour."""
        with suppress(OperationalError), transaction.atomic():  # a full disk must not prevent reading
            if self.last_opened_at is None or now - self.last_opened_at > NOTED_EVERY:
                audit.record(
                    "link_open", who="share link", workspace=self.workspace, subject=self, shows=self.shows
                )
            ShareLink.objects.filter(pk=self.pk).update(
                opened_count=F("opened_count") + 1, last_opened_at=now
            )

    def revoke(self, *, by: User) -> bool:
        """Revoke it. Return False if it already is revoked."""
        rows = ShareLink.objects.filter(pk=self.pk, revoked_at=None)
        with transaction.atomic():
            if not rows.update(revoked_at=database_clock.now()):
                return False
            audit.record("link_revoke", by=by, workspace=self.workspace, subject=self, shows=self.shows)
        return True


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
