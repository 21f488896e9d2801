"""Authentication: a token in the header, or the session of a signed-in user."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from ninja.security.base import AuthBase

from experiments import database_clock
from experiments.models import Forbidden, Token, User

from . import rate_limit
from .errors import DEFAULT_DETAILS, Unauthorized

HOW_TO_AUTHENTICATE = DEFAULT_DETAILS[401]


class ApiRequest(HttpRequest):
    """A request that has passed authentication."""

    user: User


class Bearer(AuthBase):
    """`Authorization: Bearer td_…`."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> User | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        scheme, _, secret = header.strip().partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise Unauthorized(HOW_TO_AUTHENTICATE)
        now = database_clock.now()
        token = Token.find(secret.strip())
        if token is None:
            raise Unauthorized(f"Invalid token: no such token exists. {HOW_TO_AUTHENTICATE}")
        if reason := token.why_not(now):
            raise Unauthorized(reason)
        rate_limit.count(f"token:{token.pk}")
        token.note_use(now)
        request.user = token.bearer()
        if request.user.time_zone:  # of dates and times in filters
            timezone.activate(request.user.time_zone)
        return request.user


class Session(AuthBase):
    """The session cookie of a signed-in user. Requests that change something also need the header X-CSRFToken."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = "session"

    def __call__(self, request: HttpRequest) -> User | None:
        if not request.user.is_authenticated:
            raise Unauthorized(HOW_TO_AUTHENTICATE)
        setattr(request, "csrf_processing_done", False)  # noqa: B010  Django's own flag, without a type
        check = CsrfViewMiddleware(_no_response)
        check.process_request(request)
        if check.process_view(request, _no_response, (), {}):
            raise Forbidden(
                "Missing CSRF token: with a session, requests that change something need the header X-CSRFToken. "
                "Send it, or use an API token."
            )
        rate_limit.count(f"user:{request.user.pk}")
        return request.user


def _no_response(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def holder_of(user: User) -> str:
    """Return the key under which this caller's rate limit and idempotency keys are kept."""
    return f"token:{user.token.pk}" if user.token else f"user:{user.pk}"
