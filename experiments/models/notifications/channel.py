"""Channels, through which messages are sent: an email address, a webhook, a chat, or the open pages of a browser."""

from __future__ import annotations

import secrets
from typing import Any, Self
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, models, transaction
from django.db.models import Q

from experiments.models import audit
from experiments.models import secret as sealing
from experiments.models.account.user import User
from experiments.models.fields import StampField
from experiments.models.settings import Invalid
from experiments.models.status import Refused
from experiments.models.workspace.workspace import Workspace

MAX_NAME = 60
MAX_ADDRESS = 2000
MOST = 20  # of one person, or of a workspace


class ChannelKind(models.TextChoices):
    EMAIL = "email", "Email"
    WEBHOOK = "webhook", "Signed webhook"
    SLACK = "slack", "Slack-compatible webhook"
    BROWSER = "browser", "Browser tab"


class ChannelQuerySet(models.QuerySet["Channel"]):
    def of(self, workspace: Workspace, user: User | None) -> Self:
        """Return the channels of a person in a workspace; None: those of the workspace itself. Ordered by name."""
        return self.filter(workspace=workspace, owner=user).order_by("name", "pk")

    def usable_by(self, workspace: Workspace, user: User) -> Self:
        """Return the channels of a person and those of the workspace."""
        return self.filter(Q(owner=user) | Q(owner=None), workspace=workspace).order_by("name", "pk")


class Channel(models.Model):
    """A person's channel or, without an owner, a channel of the workspace. Addresses of webhooks let anybody post
    there, so they are stored encrypted, like the secret that signs messages."""

    workspace = models.ForeignKey(Workspace, models.CASCADE, related_name="channels")
    owner = models.ForeignKey(User, models.CASCADE, null=True, related_name="channels")
    kind = models.CharField(max_length=8, choices=ChannelKind.choices)
    name = models.CharField(max_length=MAX_NAME)
    sealed_address = models.TextField(blank=True)  # empty: the address of the owner's account
    hint = models.CharField(max_length=200, blank=True)  # what pages show of the address
    sealed_secret = models.TextField(blank=True)  # signs the messages of a webhook
    created_at = StampField()

    objects = ChannelQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "owner", "name"],
                condition=Q(owner__isnull=False),
                name="channel_of_person_once",
            ),
            models.UniqueConstraint(
                fields=["workspace", "name"], condition=Q(owner=None), name="channel_of_workspace_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def create(
        cls, workspace: Workspace, *, owner: User | None, kind: str, name: str, address: str = ""
    ) -> tuple[Channel, str]:
        """Create a channel. Return it and the secret of a signed webhook, which is shown once ("" for others). Raise
        `Invalid`, or `Refused` for one too many."""
        if cls.objects.of(workspace, owner).count() >= MOST:
            raise Refused(f"There are already {MOST} channels, the maximum. Delete one first.")
        channel = cls(workspace=workspace, owner=owner, kind=kind)
        signing_secret = channel._new_secret() if kind == ChannelKind.WEBHOOK else ""
        with transaction.atomic():
            channel._write(name=name, address=address)
            channel._record("channel_create", sends_to=channel.shown_address)
        return channel, signing_secret

    def change(self, *, name: str | None = None, address: str | None = None) -> None:
        """Rename the channel, or replace its address. Raise `Invalid`."""
        former_name, former_hint = self.name, self.hint
        with transaction.atomic():
            self._write(name=self.name if name is None else name, address=address)
            if (former_name, former_hint) != (self.name, self.hint) or address:
                self._record(
                    "channel_change", name=(former_name, self.name), sends_to=(former_hint, self.hint)
                )

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete it, with an entry in the audit log."""
        with transaction.atomic():
            self._record("channel_delete")
            return super().delete(*args, **kwargs)

    def renew_secret(self) -> str:
        """Replace the secret that signs messages. Return the new one, which is shown once."""
        if self.kind != ChannelKind.WEBHOOK:
            raise Refused(f"{self.get_kind_display()} channels have no secret.")
        text = self._new_secret()
        with transaction.atomic():
            self.save(update_fields=["sealed_secret"])
            self._record("channel_secret")
        return text

    @property
    def address(self) -> str:
        """The decrypted address; raise `secret.Unreadable`. For an email channel of a person, that of the account."""
        if not self.sealed_address:
            return self.owner.email if self.owner and self.kind == ChannelKind.EMAIL else ""
        return sealing.unsealed(self.sealed_address, name=f"of the channel {self.name}")

    @property
    def secret(self) -> str:
        """The decrypted secret; raise `secret.Unreadable`."""
        return sealing.unsealed(self.sealed_secret, name=f"of the channel {self.name}")

    @property
    def shown_address(self) -> str:
        """The part of the address that pages may show."""
        if self.kind == ChannelKind.BROWSER:
            return "Open Trialdeck pages"
        return self.hint or (self.owner.email if self.owner else "")

    def _record(self, verb: str, **values: Any) -> None:
        whose = self.owner.username if self.owner else "workspace"
        audit.record(verb, workspace=self.workspace, subject=self, kind=self.kind, of=whose, **values)

    def _new_secret(self) -> str:
        text = f"whsec_{secrets.token_urlsafe(32)}"
        self.sealed_secret = sealing.seal(text)
        return text

    def _write(self, *, name: str, address: str | None) -> None:
        errors: dict[str, list[str]] = {}
        self.name = " ".join(name.split())
        if not self.name or len(self.name) > MAX_NAME or "\0" in self.name:
            errors["name"] = [f"Enter a name of at most {MAX_NAME} characters."]
        if self.kind not in ChannelKind.values or (self.kind == ChannelKind.BROWSER and self.owner is None):
            kinds = [kind for kind in ChannelKind.values if self.owner or kind != ChannelKind.BROWSER]
            errors["kind"] = [f"This must be one of: {', '.join(kinds)}."]
        elif address is not None and (fault := self._set_address(address.strip())):
            errors["address"] = [fault]
        if errors:
            raise Invalid(errors)
        try:
            with transaction.atomic():
                self.save()
        except IntegrityError:
            raise Invalid({"name": [f"A channel named {self.name} already exists."]}) from None

    def _set_address(self, address: str) -> str:
        """Set the address. Return why it is invalid, or ""."""
        if self.kind == ChannelKind.BROWSER or (self.kind == ChannelKind.EMAIL and self.owner):
            return "Leave this blank: the channel needs no address." if address else ""
        fault = fault_of_email(address) if self.kind == ChannelKind.EMAIL else fault_of_url(address)
        if not fault:
            self.sealed_address = sealing.seal(address)
            self.hint = address if self.kind == ChannelKind.EMAIL else _hint(address)
        return fault


def fault_of_email(address: str) -> str:
    """Return why this is not a valid email address, or ""."""
    try:
        validate_email(address)
    except ValidationError:
        return "Enter an email address, such as team@example.org."
    return ""


def fault_of_url(url: str) -> str:
    """Return why this is not a valid webhook URL, or "". The address behind its name is checked with every message."""
    example = "Enter a URL such as https://example.org/hooks/trialdeck."
    if not url or len(url) > MAX_ADDRESS or not url.isascii() or not url.isprintable() or " " in url:
        return example
    try:
        parsed_url = urlsplit(url)
        port = parsed_url.port
    except ValueError:
        return example
    if parsed_url.scheme not in ("http", "https") or not parsed_url.hostname or port == 0:
        return example
    if parsed_url.username is not None or parsed_url.password is not None:
        return "Remove the user name and password from the URL. Verify the signature of messages instead."
    return ""


def _hint(url: str) -> str:
    """Return scheme and host, with the last four characters of what follows."""
    parsed_url = urlsplit(url)
    path = url.split(parsed_url.netloc, 1)[1].strip("/")
    return f"{parsed_url.scheme}://{parsed_url.netloc}/{f'…{path[-4:]}' if len(path) > 8 else '…' if path else ''}"[
        :200
    ]
