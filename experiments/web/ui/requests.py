"""Types of requests: with htmx, and of a signed-in user."""

from __future__ import annotations

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from experiments.models import User


class HtmxRequest(HttpRequest):
    """A request behind django-htmx's middleware, which sets `htmx`. An annotation only, like the one below."""

    htmx: HtmxDetails


class SignedInRequest(HtmxRequest):
    """A request behind `login_required`: its user is never anonymous. An annotation only; Django makes the object."""

    user: User
