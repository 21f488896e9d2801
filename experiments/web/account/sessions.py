"""Signed-in sessions: the device, and when each was last used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.core.cache import cache
from django.dispatch import receiver
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from experiments import database_clock
from experiments.models import SecondFactor, User, UserSession
from experiments.models.account.session import LONGEST_AGENT, USED_EVERY

from .client_address import address_of

DEVICE, DEVICE_KEY = "device", "device_key"  # in a session: its UserSession, and the key of that row
MUST_ADD_FACTOR = "must_add_factor"  # in a session whose user must turn on two-factor first
BY_PASSWORD = "django.contrib.auth.backends.ModelBackend"  # noqa: S105  one-time links count as such


class KnownSessions:
    """Middleware: update the rows of sessions, and redirect users who must turn on two-factor. Costs one query per five
    minutes. A session without a row, from an earlier version, gets one.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        is_held_up = settings.REQUIRE_SECOND_FACTOR and request.session.get(MUST_ADD_FACTOR)
        if is_held_up and (refusal := _redirect_to_second_factor(request)) is not None:
            return refusal
        response = self.get_response(request)
        if request.session.accessed and SESSION_KEY in request.session:
            _note_use(request)
        return response


def _redirect_to_second_factor(request: HttpRequest) -> HttpResponseBase | None:
    page = reverse("second-factor")
    if request.path in (page, reverse("sign-out")) or request.path.startswith("/static/"):
        return None
    if request.path.startswith("/api/"):
        detail = f"Turn on two-factor first, at {page}."
        return JsonResponse({"error": "forbidden", "detail": detail}, status=403)
    return redirect(page)


def _note_use(request: HttpRequest) -> None:
    session = request.session
    key = session.session_key
    if key is None:
        return
    if not (pk := session.get(DEVICE)):
        _begin(request, int(session[SESSION_KEY]), way="")
    elif session.get(DEVICE_KEY) != key:  # a new password gives the session a new key
        UserSession.objects.filter(pk=pk).update(session_key=key)
        session[DEVICE_KEY] = key
    elif cache.add(f"session:{pk}", 1, USED_EVERY.total_seconds()):
        now, address = database_clock.now(), address_of(request)
        UserSession.objects.filter(pk=pk).update(last_used_at=now, address=address)


def ensure_row(request: HttpRequest) -> None:
    """Give the session of a signed-in request a row, if an earlier version began it, so that a page can list it."""
    if SESSION_KEY in request.session and not request.session.get(DEVICE):
        _note_use(request)


def _begin(request: HttpRequest, user_pk: int, *, way: str) -> None:
    session = request.session
    row, _ = UserSession.objects.update_or_create(
        session_key=session.session_key,
        defaults={
            "user_id": user_pk,
            "way": way,
            "agent": "".join(filter(str.isprintable, request.headers.get("User-Agent", "")))[:LONGEST_AGENT],
            "address": address_of(request),
        },
    )
    session[DEVICE], session[DEVICE_KEY] = str(row.pk), session.session_key
    cache.set(f"session:{row.pk}", 1, USED_EVERY.total_seconds())


@receiver(user_logged_in)
def begin_session(sender: object, request: HttpRequest | None, user: User, **_: Any) -> None:
    if request is None or not hasattr(request, "session") or request.session.session_key is None:
        return
    _begin(request, user.pk, way=request.session.get(BACKEND_SESSION_KEY, "").rpartition(".")[2])
    if must_add_factor(user) and request.session.get(BACKEND_SESSION_KEY) == BY_PASSWORD:
        request.session[MUST_ADD_FACTOR] = True


@receiver(user_logged_out)
def end_session(sender: object, request: HttpRequest | None, **_: Any) -> None:
    if request is not None and (pk := request.session.get(DEVICE)):
        UserSession.objects.filter(pk=pk).delete()


def must_add_factor(user: User) -> bool:
    """Return whether this person must add a second factor before anything else."""
    requirement = settings.REQUIRE_SECOND_FACTOR
    if not requirement or (requirement == "administrators" and not user.is_superuser):
        return False
    return SecondFactor.of(user) is None
