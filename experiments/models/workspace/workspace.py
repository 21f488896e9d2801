"""Workspaces, and their members with roles."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction

from experiments.models import audit
from experiments.models.account.user import User
from experiments.models.fields import StampField
from experiments.models.status import SwitchedOff


class Role(models.TextChoices):
    """The roles of members, in ascending order of permissions."""

    VIEWER = "viewer", "Viewer"
    OPERATOR = "operator", "Operator"
    OWNER = "owner", "Owner"

    @property
    def rank(self) -> int:
        return list(Role).index(self)


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def visible_to(self, user: User) -> WorkspaceQuerySet:
        """Workspaces that this user can see."""
        if not user.is_authenticated:
            return self.none()
        visible = self if user.is_superuser else self.filter(members__user=user)
        return (
            visible
            if user.token is None or not user.token.workspace_id
            else visible.filter(pk=user.token.workspace_id)
        )


class Workspace(models.Model):
    """Where a team keeps its projects and experiments."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    has_automl = models.BooleanField(default=True)
    destination = models.CharField(
        max_length=1000, blank=True
    )  # of artifacts of projects without a destination
    created_at = StampField()
    people = models.ManyToManyField(User, through="Member", related_name="workspaces")

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def open(cls, slug: str, *, name: str = "", owner: User | None = None) -> Workspace:
        """Create a workspace with the project `Default` and optionally its first owner."""
        with transaction.atomic():
            workspace = cls.objects.create(slug=slug, name=name or slug)
            audit.record("workspace_create", workspace=workspace, subject=workspace)
            workspace.projects.create(name="Default")
            if owner:
                workspace.admit(owner, Role.OWNER)
        return workspace

    def admit(self, user: User, role: str) -> Member:
        """Make `user` a member with `role`, or change the role of a member."""
        member, _ = Member.objects.update_or_create(workspace=self, user=user, defaults={"role": Role(role)})
        return member

    def require_automl(self) -> None:
        """Raise `SwitchedOff` if AutoML is off."""
        if not self.has_automl:
            raise SwitchedOff(self)

    def role_of(self, user: User) -> Role | None:
        """Return the user's role; administrators count as owners; None for non-members."""
        if not user.is_active or (user.token and not user.token.opens(self)):
            return None
        if user.is_superuser:
            role = Role.OWNER
        elif member := Member.objects.filter(workspace=self, user=user).first():
            role = Role(member.role)
        else:
            return None
        return user.token.capped(role) if user.token else role


class Member(models.Model):
    """A user's membership in a workspace."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="members")
    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=8, choices=Role.choices)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user"], name="member_once"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="member_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.workspace}: {self.role}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it, with an entry in the audit log."""
        with transaction.atomic():
            before = Member.objects.filter(pk=self.pk).values_list("role", flat=True).first()
            super().save(*args, **kwargs)
            if before is None:
                self._record("member_add", role=self.role)
            elif before != self.role:
                self._record("member_role", role=(before, self.role))

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete it, with an entry in the audit log."""
        with transaction.atomic():
            self._record("member_remove", role=(self.role, ""))
            return super().delete(*args, **kwargs)

    def _record(self, verb: str, **values: Any) -> None:
        audit.record(verb, workspace=self.workspace, subject=self.user, **values)
