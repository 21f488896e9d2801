"""Entries of the audit log: who did what, before → after, and from where. Appended, never changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, Self

from django.db import models
from django.db.models import Q

from experiments.models.fields import ExactJSONField, StampField

from .verbs import KINDS, kind_of, label_of

if TYPE_CHECKING:
    from experiments.models.account.user import User
    from experiments.models.workspace.workspace import Workspace

WAYS = {
    "console": "Console",
    "api": "API",
    "administration": "Administration",
    "command line": "Command line",
}
MAX_SUBJECT = 200
MAX_VALUE = 2000  # characters
HIDDEN = "••••"
_SECRET_NAME = re.compile(r"secret|password|passphrase|token$|credential|(api|access|private)_?key", re.I)
_PASSWORD_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]*@")


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of an action: the client's address, the way ("console", "api", "administration", "command line"; ""
    for the system itself), and the person, as far as they are known."""

    address: str = ""
    via: str = ""
    actor: Callable[[], User | None] = lambda: None


NOWHERE = Origin()  # the system itself
_origin: ContextVar[Origin] = ContextVar("audit_origin", default=NOWHERE)


@contextmanager
def origin(
    *, address: str = "", via: str = "", actor: Callable[[], User | None] = lambda: None
) -> Iterator[None]:
    """Within the block, entries have this origin."""
    token = _origin.set(Origin(address[:64], via, actor))
    try:
        yield
    finally:
        _origin.reset(token)


def origin_of_now() -> Origin:
    """Return the origin of the current action."""
    return _origin.get()


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    """Entries can't be changed; retention alone deletes, by `delete_before`."""

    def of_workspace(self, workspace: Workspace) -> Self:
        """Return the entries of a workspace, and the sign-ins of its members."""
        members = workspace.members.values("user")
        return self.filter(Q(workspace=workspace) | Q(workspace=None, kind="sign-in", by__in=members))

    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError("Entries of the audit log cannot be changed.")

    def delete(self) -> NoReturn:
        raise TypeError("Entries of the audit log cannot be deleted.")

    def delete_before(self, instant: datetime, *, at_most: int) -> int:
        """Delete the oldest entries before this instant, for retention. Return their number."""
        keys = list(self.filter(at__lt=instant).order_by("pk").values_list("pk", flat=True)[:at_most])
        return AuditEntry.objects.filter(pk__in=keys)._raw_delete(self.db) if keys else 0


class AuditEntry(models.Model):
    """An entry. Names are those at that time: they outlive accounts, tokens and subjects."""

    at = StampField()
    workspace = models.ForeignKey("Workspace", models.SET_NULL, null=True, related_name="audit_entries")
    kind = models.CharField(max_length=16, choices=list(KINDS.items()))
    verb = models.CharField(max_length=40)
    by = models.ForeignKey("User", models.SET_NULL, null=True, related_name="audit_entries")
    who = models.CharField(max_length=150, blank=True)  # "" for the system itself
    token = models.CharField(max_length=100, blank=True)  # name of the token, if a program did it
    subject = models.CharField(max_length=MAX_SUBJECT, blank=True)
    details = ExactJSONField(default=dict)  # name → value, or [before, after]
    address = models.CharField(max_length=64, blank=True)  # of the client
    via = models.CharField(max_length=16, blank=True)

    objects = AuditQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["workspace", "-id"], name="audit_of_workspace"),
            models.Index(fields=["by", "-id"], name="audit_by_person"),
            models.Index(fields=["kind", "-id"], name="audit_by_kind"),
            models.Index(fields=["at"], name="audit_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.who or 'Trialdeck'}: {self.label} {self.subject}".strip()

    @property
    def label(self) -> str:
        """The label of its verb on pages."""
        return label_of(self.verb)

    @property
    def way(self) -> str:
        """How it was done (page, API token, …), as pages show it."""
        return WAYS.get(self.via, "System")

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """The values as (name, before, after); `before` is "" where there is only a value."""
        rows = []
        for name, value in self.details.items():
            before, after = value if isinstance(value, list) else ("", value)
            rows.append((name.replace("_", " "), str(before), str(after)))
        return rows

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("Entries of the audit log cannot be changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("Entries of the audit log cannot be deleted.")


def record(
    verb: str,
    *,
    by: User | None = None,
    workspace: Workspace | None = None,
    subject: object = "",
    who: str = "",
    **values: object,
) -> AuditEntry:
    """Append an entry; call it in the transaction of what it is about.

    `subject` is the name of what was acted on. `values` are shown next to it: a value, or (before, after). Values that
    did not change are omitted, and secrets are hidden. The default of `by` is the person whose request this is, or the
    system without a request. `who` is shown if there is no account: a share link, or a name that someone typed. The
    address and the way come from the request. Raise `ValueError` for an unknown verb.
    """
    origin_now = _origin.get()
    if by is None and not who:
        by = origin_now.actor()
    token = by.token.name if by and by.token else ""
    return AuditEntry.objects.create(
        kind=kind_of(verb),
        verb=verb,
        by=by,
        who=(by.get_username() if by else who)[:150],
        token=token,
        workspace=workspace,
        subject=_readable(subject)[:MAX_SUBJECT],
        details={
            name: recorded
            for name, value in values.items()
            if (recorded := _recorded(name, value)) is not None
        },
        address=origin_now.address,
        via=origin_now.via,
    )


def _recorded(name: str, value: object) -> str | list[str] | None:
    """Return the value as text, or a pair as two texts; None if nothing differs or the value is empty."""
    is_secret = _SECRET_NAME.search(name) is not None
    if isinstance(value, tuple):
        before, after = (_readable(each) for each in value)
        if before == after:
            return None
        return [HIDDEN if is_secret and text else text[:MAX_VALUE] for text in (before, after)]
    text = _readable(value)
    if not text:
        return None
    return HIDDEN if is_secret else text[:MAX_VALUE]


def _readable(value: object) -> str:
    """Return the value as text, without characters that a database cannot store, and without credentials in URLs."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:.12g}"
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    text = "".join(
        letter if letter not in "\0" and not "\ud800" <= letter <= "\udfff" else "�" for letter in text
    )
    return _PASSWORD_IN_ADDRESS.sub(f"{HIDDEN}@", text)
