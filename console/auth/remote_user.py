"""Sign-in by a header of a trusted proxy. Whoever can send the header can be any user: see docs/admin/people.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import RemoteUserBackend
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from experiments.models import User
from experiments.web.account.client_address import is_trusted

BACKEND = "console.auth.remote_user.ProxyUserBackend"


class ProxyUserBackend(RemoteUserBackend):
    """The account of the user in the header. A new account has no permissions and no password."""

    def configure_user(self, request: HttpRequest | None, user: Any, created: bool = True) -> Any:
        if created:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        return user


class ProxyUserMiddleware:
    """Sign in the user in the header, but only from TRIALDECK_TRUSTED_PROXIES. A session opened by the header lasts as
    long as the proxy keeps sending it; sessions by password or one-time link are unaffected when it is missing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = proxy_username(request)
        user = request.user
        if not name:
            if request.session.get(auth.BACKEND_SESSION_KEY) == BACKEND:
                auth.logout(request)
            return self.get_response(request)
        if user.is_authenticated and user.get_username() == name:
            return self.get_response(request)
        if user.is_authenticated:
            auth.logout(request)
        if fault := _username_fault(name):
            return render(request, "403.html", {"reason": fault}, status=403)
        account = auth.authenticate(request, remote_user=name)
        if account is None:
            reason = f"The account {name} is disabled. Ask an administrator to enable it."
            return render(request, "403.html", {"reason": reason}, status=403)
        auth.login(request, account)
        return self.get_response(request)


def proxy_username(request: HttpRequest) -> str:
    """Return the username in the header of a trusted proxy, or ""."""
    if not is_trusted(request.META.get("REMOTE_ADDR", "")):
        return ""
    header = "HTTP_" + settings.REMOTE_USER_HEADER.upper().replace("-", "_")
    return User.normalize_username(request.META.get(header, "").strip())


def _username_fault(name: str) -> str:
    """Return why this is not a valid username, or "". A comma shows that two headers were sent."""
    try:
        User._meta.get_field("username").run_validators(name)
    except ValidationError:
        return (
            f"The proxy sent the username {name[:64]!r}, which is invalid. Usernames have at most 150 letters, "
            "digits and @ . + - _. Contact an administrator."
        )
    return ""
