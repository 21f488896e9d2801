"""Signing in: with a password, or with a one-time link."""

from __future__ import annotations

from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from experiments.models import SignInLink

PROBLEM = (
    "It was used already, or it is older than its time. Each link works once. "
    "Ask an administrator for a new one, or sign in with your password."
)


class SignIn(LoginView):
    """Username and password. Whoever is signed in already goes on."""

    redirect_authenticated_user = True


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def enter(request: HttpRequest, token: str) -> HttpResponse:
    """A one-time link: GET shows a button and uses nothing up (link previews), POST enters and burns it."""
    link = SignInLink.find(token)
    if request.method != "POST":
        said = {"who": link.user.username} if link else {"problem": PROBLEM}
        return render(request, "registration/enter.html", said, status=200 if link else 410)
    if not (link and link.use()):
        return render(request, "registration/enter.html", {"problem": PROBLEM}, status=410)
    login(request, link.user, backend="django.contrib.auth.backends.ModelBackend")
    return redirect("home")
