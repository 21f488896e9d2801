"""The second step of a sign-in: the code of an authenticator app, or a recovery code."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from experiments.models import SecondFactor, User, audit

from . import sign_in_limit

PENDING = "second_step"  # in the session
VALID_S = 600


class CodeForm(forms.Form):
    """A code of six digits, or a recovery code."""

    code = forms.CharField(
        max_length=32,
        label="Code",
        help_text="From your authenticator app, or a recovery code.",
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "autofocus": True,
                "spellcheck": "false",
                "autocapitalize": "none",
            }
        ),
        error_messages={"required": "Enter the code."},
    )

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, label_suffix="")


def begin(request: HttpRequest, user: User, *, backend: str, next_url: str) -> HttpResponse | None:
    """Redirect a user with a second factor to the page for its code. Return None for a user without."""
    if SecondFactor.of(user) is None:
        return None
    request.session[PENDING] = {
        "user": user.pk,
        "backend": backend,
        "next": next_url,
        "at": time.time(),
        "hash": user.get_session_auth_hash(),
    }
    return redirect("sign-in-code")


@sensitive_post_parameters("code")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def code(request: HttpRequest) -> HttpResponse:
    """Ask for the code, and sign in."""
    pending = request.session.get(PENDING)
    user = _user_of(pending)
    if pending is None or user is None:
        request.session.pop(PENDING, None)
        return redirect("sign-in")
    if request.method != "POST":
        return _draw(request, CodeForm())
    form = CodeForm(request.POST)
    if sign_in_limit.has_failed_too_often(request, user.get_username()):
        form.add_error(None, sign_in_limit.TOO_MANY)
        return _draw(request, form, status=429)
    if form.is_valid():
        factor = SecondFactor.of(user)
        if factor is None or factor.accepts(form.cleaned_data["code"]):
            del request.session[PENDING]
            login(request, user, backend=pending["backend"])
            return redirect(pending["next"])
        sign_in_limit.count_wrong(request, user.get_username())
        audit.record("sign_in_failed", who=user.get_username(), subject=user, reason="wrong code")
        form.add_error("code", "Wrong code, or already used. Enter the next code.")
    return _draw(request, form, status=422)


def _user_of(pending: dict[str, Any] | None) -> User | None:
    """Return the user who has just passed the first step; None if it was too long ago or is no longer valid."""
    if pending is None or not 0 <= time.time() - pending["at"] <= VALID_S:
        return None
    user = User.objects.filter(pk=pending["user"], is_active=True).first()
    is_current = user is not None and constant_time_compare(pending["hash"], user.get_session_auth_hash())
    return user if is_current else None


def _draw(request: HttpRequest, form: CodeForm, *, status: int = 200) -> HttpResponse:
    response = render(request, "registration/code.html", {"form": form}, status=status)
    if status == 429:
        response["Retry-After"] = str(sign_in_limit.WINDOW_S)
    return response
