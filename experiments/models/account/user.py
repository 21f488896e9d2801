"""Users and one-time sign-in links."""

from __future__ import annotations

import hashlib
import logging
import secrets
from datetime import timedelta
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractUser, UserManager
from django.core.mail import EmailMessage
from django.db import models, transaction

from experiments import database_clock
from experiments.models.plain_sql import RowStatement

if TYPE_CHECKING:
    from .token import Token

logger = logging.getLogger(__name__)

EMAIL_CHANGED = """\
The email address of your Trialdeck account {} was changed. Password resets no longer go to this address.

If you did not do this, change your password and sign out your other sessions on the account page, or contact an
administrator.
"""


PASSWORD_CHANGED = "password was changed"
TOKEN_CREATED = "API token {} was created"
FACTOR_ON = "two-factor sign-in was turned on"
FACTOR_OFF = "two-factor sign-in was turned off"
CODES_RENEWED = "recovery codes were replaced"
CHANGED = """\
For your Trialdeck account {}: your {}.

If you did not do this, change your password and sign out your other sessions on the account page, or contact an
administrator.
"""


class Users(UserManager["User"]):
    """The manager of users. Migrations use Django's."""

    def get(self, *args: Any, **kwargs: Any) -> User:
        """Return the user with this key by a statement that is compiled once, because every request with a session does
        this. For other conditions, use Django's query."""
        # Related managers, such as a workspace's members, are subclasses and must search among their own users only.
        if type(self) is not Users or args or kwargs.keys() != {"pk"} or type(kwargs["pk"]) is not int:
            return super().get(*args, **kwargs)
        user = _by_key.object(**kwargs)
        if user is None:
            raise self.model.DoesNotExist(f"There is no user {kwargs['pk']}.")
        return user

    # Equal to the manager in the migrations: otherwise, Django would require a migration that changes nothing.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserManager)

    __hash__ = UserManager.__hash__


class User(AbstractUser):
    """A person's account. Administrators are superusers: they create accounts and workspaces, and manage queues and
    workers."""

    openid = models.CharField(
        "OpenID identity",
        max_length=500,
        null=True,
        blank=True,
        unique=True,
        help_text="Issuer and subject at the OpenID provider. Clear to link the next matching sign-in.",
    )

    time_zone = models.CharField(max_length=64, blank=True)  # of the times on pages; "": the browser's
    # When no email and no chat message is sent, such as `22:00-07:00; Sat-Sun`, in `quiet_zone`.
    quiet_hours = models.CharField(max_length=200, blank=True)
    quiet_zone = models.CharField(max_length=64, blank=True)

    objects: ClassVar[Users] = Users()

    # The token with which a program acts for this user now, which limits all permissions. Not a column.
    token: Token | None = None

    def notify_of_change(self, changed: str) -> None:
        """Tell this person by email what was changed in the account, if Trialdeck can send email, so that someone who
        took over a session does not stay unnoticed. Sent after the transaction, in a thread."""
        if not (self.email and settings.EMAIL_HOST):
            return
        message = EmailMessage(
            f"Your {changed}", CHANGED.format(self.get_username(), changed), to=[self.email]
        )
        transaction.on_commit(lambda: Thread(target=_send, args=[message], daemon=True).start())

    def notify_former_email(self, former: str) -> None:
        """Tell the old address that it was replaced, if Trialdeck can send email, so that someone who took over a
        session does not take over the account unnoticed. Sent in a thread, because a mail server may be slow."""
        if not (former and settings.EMAIL_HOST):
            return
        message = EmailMessage(
            "Your email address was changed", EMAIL_CHANGED.format(self.get_username()), to=[former]
        )
        Thread(target=_send, args=[message], daemon=True).start()


_by_key = RowStatement(User, lambda pk: User.objects.filter(pk=pk).order_by(), pk=-1_000_000_007)


class SignInLink(models.Model):
    """A one-time sign-in link of one user. Only the token's hash is stored."""

    user = models.ForeignKey(User, models.CASCADE, related_name="sign_in_links")
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"link for {self.user}, until {self.expires_at:%F %R}"

    @classmethod
    def issue(cls, user: User, valid_for: timedelta = timedelta(hours=24)) -> str:
        """Return a new token, which is shown once. `/enter/<token>/` accepts it once."""
        token = secrets.token_urlsafe(24)
        cls.objects.create(user=user, digest=_digest(token), expires_at=database_clock.now() + valid_for)
        return token

    @classmethod
    def find(cls, token: str) -> SignInLink | None:
        """Return the link of a valid token, or None. The link stays valid."""
        return (
            cls.objects.filter(
                digest=_digest(token),
                used_at=None,
                expires_at__gt=database_clock.now(),
                user__is_active=True,
            )
            .select_related("user")
            .first()
        )

    def use(self) -> bool:
        """Use up the link. Return True for the one caller who may sign in with it."""
        return bool(SignInLink.objects.filter(pk=self.pk, used_at=None).update(used_at=database_clock.now()))


def ensure_owner() -> tuple[User, bool]:
    """Return the first administrator of the installation, and whether it was just created (without a password)."""
    with transaction.atomic():
        user = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
        if user:
            return user, False
        user = User(username=_free_name("owner"), is_superuser=True, is_staff=True)
        user.set_unusable_password()
        user.save()
        return user, True


def _free_name(requested_name: str) -> str:
    taken = set(User.objects.filter(username__startswith=requested_name).values_list("username", flat=True))
    return next(
        name
        for name in (requested_name, *(f"{requested_name}{n}" for n in range(2, len(taken) + 3)))
        if name not in taken
    )


def _send(message: EmailMessage) -> None:
    try:
        message.send()
    except OSError as error:  # smtplib's errors, too
        logger.warning("%s could not be sent to %s: %s", message.subject, ", ".join(message.to), error)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
