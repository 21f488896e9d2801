"""Signing in: with a password, or with a one-time link."""

from __future__ import annotations

from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from experiments.models import SignInLink

from . import second_step

BACKEND = "django.contrib.auth.backends.ModelBackend"
PROBLEM = (
    "The link was already used or has expired; each link works once. "
    "Ask an administrator for a new one, or sign in with your password."
)


class SignIn(LoginView):
    """Username and password. A signed-in user is redirected."""

    redirect_authenticated_user = True


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """A one-time link: GET shows a button and leaves the link valid (link previews), POST signs in and uses it up."""
    link = SignInLink.find(token)
    if request.method != "POST":
        context = {"who": link.user.username} if link else {"problem": PROBLEM}
        return render(request, "registration/enter.html", context, status=200 if link else 410)
    if not (link and link.use()):
        return render(request, "registration/enter.html", {"problem": PROBLEM}, status=410)
    if (
        second := second_step.begin(request, link.user, backend=BACKEND, next_url=reverse("home"))
    ) is not None:
        return second
    login(request, link.user, backend=BACKEND)
    return redirect("home")
