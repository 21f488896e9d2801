"""Who: users, workspaces, members with roles, one-time sign-in links."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from django.contrib.auth.models import AbstractUser
from django.db import models, transaction
from django.utils import timezone

from .status import SwitchedOff

if TYPE_CHECKING:
    from .token import Token


class User(AbstractUser):
    """A person. An administrator is a superuser: creates accounts and workspaces, manages queues and workers."""

    openid = models.CharField(
        "OpenID identity",
        max_length=500,
        null=True,
        blank=True,
        unique=True,
        help_text="Issuer and subject of who signs in to this account by OpenID. Emptied, the next who fits is bound.",
    )

    # The token with which a program acts for this person now: it lessens all rights. Not a column.
    token: Token | None = None


class Role(models.TextChoices):
    """What a member may do: each role may do all that the one before may."""

    VIEWER = "viewer", "Viewer"
    OPERATOR = "operator", "Operator"
    OWNER = "owner", "Owner"

    @property
    def rank(self) -> int:
        return list(Role).index(self)


class WorkspaceQuerySet(models.QuerySet["Workspace"]):
    def visible_to(self, user: User) -> WorkspaceQuerySet:
        """The workspaces that exist for this person."""
        if not user.is_authenticated:
            return self.none()
        mine = self if user.is_superuser else self.filter(members__user=user)
        return (
            mine
            if user.token is None or not user.token.workspace_id
            else mine.filter(pk=user.token.workspace_id)
        )


class Workspace(models.Model):
    """A team's room."""

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    has_automl = models.BooleanField(default=True)
    destination = models.CharField(max_length=1000, blank=True)  # of artifacts, where a project names none
    created_at = models.DateTimeField(default=timezone.now)
    people = models.ManyToManyField(User, through="Member", related_name="workspaces")

    objects = WorkspaceQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def open(cls, slug: str, *, name: str = "", owner: User | None = None) -> Workspace:
        """Makes a workspace with its project `Default` and, if given, its first owner."""
        with transaction.atomic():
            workspace = cls.objects.create(slug=slug, name=name or slug)
            workspace.projects.create(name="Default")
            if owner:
                workspace.admit(owner, Role.OWNER)
        return workspace

    def admit(self, user: User, role: str) -> Member:
        """Makes `user` a member with `role`, or changes the role of a member."""
        member, _ = Member.objects.update_or_create(workspace=self, user=user, defaults={"role": Role(role)})
        return member

    def require_automl(self) -> None:
        """PAI-P1: raises `SwitchedOff` where AutoML is off."""
        if not self.has_automl:
            raise SwitchedOff(self)

    def role_of(self, user: User) -> Role | None:
        """The role of a person here; an administrator counts as an owner; None for a stranger."""
        if not user.is_authenticated or not user.is_active or (user.token and not user.token.opens(self)):
            return None
        role = Role.OWNER if user.is_superuser else None
        if role is None:
            role = Member.objects.filter(workspace=self, user=user).values_list("role", flat=True).first()
        if role is None:
            return None
        return user.token.capped(Role(role)) if user.token else Role(role)


class Member(models.Model):
    """A person in a workspace."""

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


class SignInLink(models.Model):
    """A one-time door for one person. Only the token's hash is kept."""

    user = models.ForeignKey(User, models.CASCADE, related_name="sign_in_links")
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"link for {self.user}, until {self.expires_at:%F %R}"

    @classmethod
    def issue(cls, user: User, valid_for: timedelta = timedelta(hours=24)) -> str:
        """Returns a fresh token, which is shown once; `/enter/<token>/` opens with it, once."""
        token = secrets.token_urlsafe(24)
        cls.objects.create(user=user, digest=_digest(token), expires_at=timezone.now() + valid_for)
        return token

    @classmethod
    def find(cls, token: str) -> SignInLink | None:
        """The link of a token that can still be used, or None. Does not use it up."""
        return (
            cls.objects.filter(
                digest=_digest(token),
                used_at=None,
                expires_at__gt=timezone.now(),
                user__is_active=True,
            )
            .select_related("user")
            .first()
        )

    def use(self) -> bool:
        """Burns the link. True for the one caller who may enter with it."""
        return bool(SignInLink.objects.filter(pk=self.pk, used_at=None).update(used_at=timezone.now()))


def ensure_owner() -> tuple[User, bool]:
    """The installation's first administrator, and whether it was made just now (without a password)."""
    with transaction.atomic():
        user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
        if user:
            return user, False
        user = User(username=_free_name("owner"), is_superuser=True, is_staff=True)
        user.set_unusable_password()
        user.save()
        return user, True


def _free_name(wanted: str) -> str:
    taken = set(User.objects.filter(username__startswith=wanted).values_list("username", flat=True))
    return next(
        name for name in (wanted, *(f"{wanted}{n}" for n in range(2, len(taken) + 3))) if name not in taken
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
