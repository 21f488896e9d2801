"""Sign-in by a proxy that says, in a header, who is there. See docs/people.md: whoever can send it is whom they say."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.backends import RemoteUserBackend
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from experiments.models import User
from experiments.web.account.passwords import is_trusted

MINE = "console.auth.remote_user.Vouched"


class Vouched(RemoteUserBackend):
    """An account for whoever the proxy names. A new one has no rights and no password: owners make it a member."""

    def configure_user(self, request: HttpRequest, user: AbstractBaseUser, created: bool = True) -> User:
        if created:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        return user


class Vouching:
    """Believes the header, but only of TRIALDECK_TRUSTED_PROXIES. A session that it opened lasts as long as the
    proxy keeps saying so; sessions by password or by one-time link stay as they are when nobody is named."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        name = named(request)
        user = request.user
        if not name:
            if request.session.get(auth.BACKEND_SESSION_KEY) == MINE:
                auth.logout(request)
            return self.get_response(request)
        if user.is_authenticated and user.get_username() == name:
            return self.get_response(request)
        if user.is_authenticated:
            auth.logout(request)
        if said := _fault(name):
            return render(request, "403.html", {"reason": said}, status=403)
        user = auth.authenticate(request, remote_user=name)
        if user is None:
            reason = f"The account {name} is disabled. Ask an administrator to enable the account."
            return render(request, "403.html", {"reason": reason}, status=403)
        auth.login(request, user)
        return self.get_response(request)


def named(request: HttpRequest) -> str:
    """The username that a trusted proxy names; empty: nobody, or nobody whom we trust says so."""
    if not is_trusted(request.META.get("REMOTE_ADDR", "")):
        return ""
    header = "HTTP_" + settings.REMOTE_USER_HEADER.upper().replace("-", "_")
    return User.normalize_username(request.META.get(header, "").strip())


def _fault(name: str) -> str:
    """Why this cannot be a username. A comma is the sign that two headers were sent."""
    try:
        User._meta.get_field("username").run_validators(name)
    except ValidationError:
        return (
            f"The proxy in front of Trialdeck sent the name {name[:64]!r}, which cannot be a username: letters, "
            "digits and @ . + - _ only, at most 150. Tell an administrator."
        )
    return ""
