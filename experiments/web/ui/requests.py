"""The type of the requests that the signed-in pages get."""

from __future__ import annotations

from django.http import HttpRequest

from experiments.models import User


class SignedInRequest(HttpRequest):
    """A request behind `login_required`: its user is never anonymous. An annotation only; Django makes the object."""

    user: User
