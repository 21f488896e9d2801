"""The limit on failed sign-ins, shared by all web processes."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import HttpRequest

from experiments.messages import plural
from experiments.models import Attempts, User

from .audit_entries import record_failure
from .client_address import address_of

WINDOW_S = 15 * 60  # from the first failure
FAILURES_OF_ONE_NAME = 10  # from one address
FAILURES_OF_ONE_ADDRESS = 100  # with any names
RESETS_TO_ONE_ADDRESS = 3
RESETS_FROM_ONE_CLIENT = 10

TOO_MANY = (
    f"Too many failed attempts from your address. Try again in {plural(WINDOW_S // 60, 'minute')}, "
    "or ask an administrator for a one-time link."
)


def count(*key_parts: str) -> int:
    """Count a failure; return the number of failures within the window."""
    return Attempts.count_one(*key_parts, within_s=WINDOW_S)


def counted(*key_parts: str) -> int:
    return Attempts.counted(*key_parts)


def folded(username: object) -> str:
    return str(username or "").strip().casefold()[:150]


def has_failed_too_often(request: HttpRequest, username: object) -> bool:
    at = address_of(request)
    return (
        counted("name", at, folded(username)) >= FAILURES_OF_ONE_NAME
        or counted("address", at) >= FAILURES_OF_ONE_ADDRESS
    )


class FailedSignInLimit:
    """Authentication backend that rejects a client after too many failures, before the password is checked.

    The first in AUTHENTICATION_BACKENDS, so that every sign-in with a password obeys the limit.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None
    ) -> None:
        if request is not None and username is not None and has_failed_too_often(request, username):
            raise PermissionDenied


@receiver(user_login_failed)
def count_failure(
    sender: object, credentials: dict[str, Any], request: HttpRequest | None = None, **_: object
) -> None:
    username = credentials.get("username")
    if request is None or username is None:
        return
    if not has_failed_too_often(request, username):  # not beyond the limit, to keep the audit log short
        record_failure(str(username))
    count_wrong(request, username)


def count_wrong(request: HttpRequest, username: object) -> None:
    """Count a wrong password or a wrong code."""
    at = address_of(request)
    count("name", at, folded(username))
    count("address", at)


@receiver(user_logged_in)
def forget_failures(sender: object, request: HttpRequest | None, user: User, **_: object) -> None:
    """Reset the count of a user who signed in. Failures of the same address with other names still count."""
    if request is not None:
        Attempts.forget("name", address_of(request), folded(user.get_username()))
